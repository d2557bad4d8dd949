"""The findings: each has its form, and its numbers are those of the rows."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace

import pytest
from ebbench.site import findings
from ebbench.site.filled import Board, filled, without_comments
from ebbench.site.finding_figure import drawn

import boards
from ebbench.board.row import Reference, Row
from ebbench.contract import Metric
from ebbench.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "docs" / "findings").glob("*.md"))
AREA = Metric(name="area", unit="share", better="higher", doc="", primary=True)


def row(model: str, *values: float, **more: object) -> Row:
    own = {"title": model.upper(), "score": "energy", "options": {"size": 3}}
    return boards.row("area", model, *values, **own | more)


ROWS = [
    row("a", 0.1, 0.2, 0.3, published={"area": Reference(0.25, 0.02, "Table 1", "verbatim")}),
    row("a", 0.9, 0.9, overrides={"steps": 5}),
    row("a", 0.7, overrides={"steps": 5, "lr": 0.01}),
    row("a", 0.99, task_version=0),
    row("a", 0.5, protocol="published"),
    row("a", 0.95, tier="claimed"),
    row("b", 0.4, 0.46, seeds=[1, 2]),
    row("b", 0.61, sampler="mala", kind="control"),
    row("c", 12345.0),
    # The deviation is sqrt(0.005), the half-width 12.706 * 0.05 = 0.6353; the board has two digits of it.
    row("c", 1234.45, 1234.55, sampler="mala"),
]
BOARD = Board({"t": ROWS}, {"t": [AREA]}, {"t": ["clean", "published"]})


def value(words: str) -> str:
    return without_comments(filled(f"x <!--value {words}-->?<!--end--> y", BOARD, "here").text)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        # t(2 degrees, 97.5 %) = 4.3027; the deviation is 0.1 and 0.1 / sqrt(3) = 0.057735.
        ("model=a", "0.20 ± 0.25"),
        ("model=a size=3", "0.20 ± 0.25"),
        ("model=a show=mean", "0.200"),
        ("model=a show=range", "0.1 to 0.3"),
        ("model=a show=seeds", "0.1, 0.2, 0.3"),
        ("model=a show=n", "3"),
        ("model=a show=published", "0.25 ± 0.02"),
        ("model=a steps=5", "0.9000 ± 0"),
        ("model=a+steps=5+lr=0.01", "0.700"),
        ("model=a protocol=published", "0.500"),
        ("model=b@mala", "0.610"),
        ("model=c", "12,345"),
        ("model=c@mala", "1,234.50 ± 0.64"),
        # Seeds 1 and 2 of both: 0.4 - 0.2 and 0.46 - 0.3; t(1) = 12.706, deviation 0.0283 / sqrt(2) = 0.02.
        ("model=b against=a show=difference", "+0.18 ± 0.25"),
    ],
)
def test_a_number_is_that_of_its_row(words: str, shown: str):
    assert value(f"task=t metric=area {words}") == f"x {shown} y"


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("task=t model=d metric=area", "no row answers"),
        ("task=t model=a steps=6 metric=area", "no row answers"),
        ("task=t model=a metric=volume", "no metric 'volume'"),
        ("task=u model=a metric=area", "no row of a task 'u'"),
        ("task=t model=a metric=area show=all", "no way to show"),
        ("task=t model=b metric=area show=published", "no paper has area"),
        ("task=t model metric=area", "no key=value"),
    ],
)
def test_a_comment_that_no_row_answers_is_named(words: str, fault: str):
    with pytest.raises(UsageError, match=fault) as caught:
        value(words)
    assert "here" in str(caught.value)


def test_wins_are_counted_over_the_data_sets_by_the_means_of_the_seeds():
    def result(run: str, values: list[float]) -> SimpleNamespace:
        parts = [SimpleNamespace(name=f"set{i}", metrics={"area": value}) for i, value in enumerate(values)]
        return SimpleNamespace(run_id=run, parts=parts)

    one, other = row("a", 0.5, 0.5), row("b", 0.5)
    # The means of a are .5, .3, .1, .4, .2, .6, and so better than b's on the first, the fourth and the last.
    held = [
        result(one.runs[0], [0.5, 0.2, 0.0, 0.4, 0.2, 0.9]),
        result(one.runs[1], [0.5, 0.4, 0.2, 0.4, 0.2, 0.3]),
        result(other.runs[0], [0.4, 0.35, 0.2, 0.3, 0.2, 0.5]),
    ]
    results = {"t": {each.run_id: each for each in held}}
    board = Board({"t": [one, other]}, BOARD.metrics, BOARD.protocols, results)

    def said(words: str) -> str:
        text = f"<!--value task=t metric=area {words}-->?<!--end-->"
        return without_comments(filled(text, board, "here").text)

    assert said("model=a against=b show=wins") == "3 of 6"
    assert said("model=b against=a show=wins") == "2 of 6"


def test_two_rows_for_one_comment_are_refused():
    twins = Board({"t": [row("a", 0.1), row("a", 0.2, options={"size": 4})]}, BOARD.metrics, BOARD.protocols)
    with pytest.raises(UsageError, match="2 rows answer"):
        filled("<!--value task=t model=a metric=area-->?<!--end-->", twins, "here")


def test_a_comment_needs_an_end_of_its_own():
    text = "<!--value task=t model=a metric=area--> <!--value task=t model=b metric=area-->1<!--end-->"
    with pytest.raises(UsageError, match="no <!--end-->"):
        filled(text, BOARD, "here")


def test_a_table_is_ordered_by_its_first_metric_and_drawn():
    text = (
        "<!--with task=t-->\n<!--table models=a,b~second_one,b@mala metrics=area heads=The_area published=yes"
        " figure=f-->\nold\n<!--end-->\n"
    )
    made = filled(text, BOARD, "here")
    assert without_comments(made.text) == (
        "| method | seeds | The area | published |\n|---|---:|---:|---:|\n"
        "| B, mala (control) | 1 | 0.610 |  |\n| second one | 2 | 0.43 ± 0.38 |  |\n"
        "| A | 3 | 0.20 ± 0.25 | 0.25 ± 0.02 |\n"
    )
    # What is filled once stays as it is.
    assert filled(made.text, BOARD, "here").text == made.text
    (figure,) = made.figures
    picture = ET.fromstring(drawn(figure))
    circles = [e for e in picture.iter() if e.tag.endswith("circle")]
    xs = [float(e.get("cx")) for e in circles]
    assert len(xs) == 6 and xs[0] == max(xs)
    # The dots lie as the values do: 0.46 is as far from 0.4 as 0.6 of the way from 0.1 to 0.2.
    assert xs[2] - xs[1] == pytest.approx(0.6 * (xs[4] - xs[3]), abs=0.02)


@pytest.mark.medium
def test_the_findings_are_those_of_the_results():
    fresh = findings.fresh(ROOT, ROOT / "results")
    assert len(fresh) > 25
    stale = [p.name for p, text in fresh.items() if not p.is_file() or p.read_text("utf-8") != text]
    assert not stale, "run `.venv/bin/python scripts/findings`"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_finding_has_its_form(path: Path):
    text = path.read_text(encoding="utf-8")
    # A line that begins with a comment is raw HTML on a code host, and breaks its paragraph.
    assert not re.search(r"^\s*<!--value", text, re.M)
    first, *rest = re.split(r"^## ", without_comments(text), flags=re.M)
    assert re.match(r"# \S.{15,120}\n", first), "a headline that says the result"
    before = re.split(r"^\|", first, maxsplit=1, flags=re.M)[0]
    assert len(re.findall(r"^- ", before, re.M)) == 3, "three bullets"
    figures = re.findall(r"^!\[[^\]]+\]\(\.\./figures/([\w.-]+)\)$", first, re.M)
    assert figures and all((ROOT / "docs" / "figures" / name).is_file() for name in figures)
    assert [one.partition("\n")[0] for one in rest] == ["What it means for you", "Limits", "Make it again"]
    assert re.search(r"```\n(ebbench|python) \w+", rest[2])
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert link.startswith("https:") or (path.parent / link).exists(), link


def test_every_finding_is_on_the_overview():
    listed = re.findall(r"\]\(findings/([\w.-]+)\)", (ROOT / "docs" / "findings.md").read_text("utf-8"))
    assert sorted(listed) == [path.name for path in FILES]
