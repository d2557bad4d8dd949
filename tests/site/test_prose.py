"""Markdown on the site: tags are shown, links lead to pages from wherever the page is."""

from __future__ import annotations

import pytest
from ebbench.site.prose import Prose

PROSE = Prose(
    words={"docs/findings.md": "findings.html", "docs/table.md": "statistics.html"},
    tasks={"kdd99", "a/b"},
    methods={"meg", "kdd99"},
)


def html(text: str, source: str = "tasks/kdd99/README.md", page: str = "tasks/kdd99.html") -> str:
    return PROSE.html(text, source=source, page=page)


@pytest.mark.parametrize(
    ("source", "page", "link", "leads_to"),
    [
        ("tasks/kdd99/README.md", "tasks/kdd99.html", "../../docs/findings.md", "../findings.html"),
        (
            "tasks/kdd99/README.md",
            "tasks/kdd99.html",
            "../../docs/table.md#ranks",
            "../statistics.html#ranks",
        ),
        ("tasks/kdd99/README.md", "tasks/kdd99.html", "../../baselines/meg/README.md", "../methods/meg.html"),
        ("tasks/kdd99/README.md", "tasks/kdd99.html", "../../baselines/meg", "../methods/meg.html"),
        ("baselines/meg/README.md", "methods/meg.html", "../../tasks/kdd99/README.md", "../tasks/kdd99.html"),
        ("baselines/meg/README.md", "methods/meg.html", "../kdd99/README.md", "../methods/kdd99.html"),
        ("baselines/meg/README.md", "methods/meg.html", "../../README.md", "../index.html"),
        # The board has none of the headings of the project's README.
        ("baselines/meg/README.md", "methods/meg.html", "../../README.md#try-it", "../index.html"),
        ("docs/findings.md", "findings.html", "table.md", "statistics.html"),
        ("docs/findings.md", "findings.html", "../tasks/kdd99/README.md", "tasks/kdd99.html"),
        ("docs/findings.md", "findings.html", "https://example.org/x.md", "https://example.org/x.md"),
        ("docs/findings.md", "findings.html", "#below", "#below"),
    ],
)
def test_a_link_leads_to_the_page_of_what_it_names(source: str, page: str, link: str, leads_to: str):
    # What lies outside the site may be anyone's.
    outside = ' rel="nofollow noopener"' if link.startswith("https:") else ""
    assert html(f"see [*this*]({link}) now", source, page) == (
        f'<p>see <a href="{leads_to}"{outside}><em>this</em></a> now</p>\n'
    )


@pytest.mark.parametrize(
    "link", ["task.py", "../../results/", "../../../etc/passwd", "/etc/passwd", "nowhere.md"]
)
def test_a_link_to_what_the_site_has_not_leaves_its_words(link: str):
    assert html(f"see [`this` one]({link}) and [that](../../docs/findings.md)") == (
        '<p>see <code>this</code> one and <a href="../findings.html">that</a></p>\n'
    )


def test_tags_are_shown_and_scripts_are_no_links():
    made = html("<script>alert(1)</script>\n\n[x](javascript:alert(2)) <img src=x onerror=alert(3)>")
    assert "<script" not in made and "<img" not in made and "href" not in made
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in made


def test_only_the_projects_figures_are_pictures():
    assert 'src="figures/x.svg"' in html("![a](figures/x.svg)", "docs/findings.md", "findings.html")
    for address in (
        "https://example.org/x.png",
        "//example.org/x.png",
        "own.png",
        "data:image/png;base64,AA==",
    ):
        made = html(f"before ![the *words*]({address}) after")
        assert "<img" not in made and "the <em>words</em>" in made, address


def test_tables_are_tables():
    assert "<table>" in html("| a | b |\n|---|---|\n| 1 | [x](../../docs/findings.md) |")
