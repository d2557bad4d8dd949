"""The site of odd results, tasks and models: what is wrong is named, and all the rest is built."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from ebbench.site import views
from ebbench.site.build import build

from ebbench.record import resultfiles
from pages import changed, one_of, parsed


def test_a_broken_result_is_named_and_the_rest_is_built(some: Path, tmp_path: Path, cli):
    (some / "stackedmnist" / "meg" / "broken.json").write_text('{"schema_version": 2}')
    said = cli("site", "build", "--results", some, "--out", tmp_path / "site")
    assert said.code == 1 and "broken.json" in said.err
    home = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "broken.json" in home and "1000" in (tmp_path / "site" / "tasks" / "stackedmnist.html").read_text()


HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)> {{ 7 * 7 }} ${8 * 8}'


def test_markup_in_any_text_of_a_result_is_shown_and_not_obeyed(some: Path, tmp_path: Path):
    path = some / "gaussian" / "vae" / one_of("gaussian", "vae").name
    raw = json.loads(path.read_text())
    raw["model"] |= {"title": HOSTILE, "variant": HOSTILE, "name": HOSTILE}
    raw["task"] |= {"protocol": HOSTILE, "source": HOSTILE, "options": {HOSTILE: HOSTILE}}
    raw["sampler"] = {"name": HOSTILE, "knobs": {HOSTILE: HOSTILE}}
    raw |= {"budget": HOSTILE, "overrides": {HOSTILE: HOSTILE}, "config": {HOSTILE: HOSTILE}}
    raw["details"] = {HOSTILE: [HOSTILE, {"inner": HOSTILE}]}
    raw["metrics"] |= {HOSTILE: 1.0}
    raw["provenance"]["command"] = raw["provenance"]["platform"] = HOSTILE
    path.write_text(json.dumps(raw))
    assert build(some, tmp_path / "site") == []
    pages = list((tmp_path / "site").rglob("*.html"))
    hit = [page for page in pages if "alert(1)" in page.read_text(encoding="utf-8")]
    assert len(hit) >= 3
    # What somebody only claims is not on the first page.
    assert tmp_path / "site" / "index.html" not in hit
    for page in hit:
        text = page.read_text(encoding="utf-8")
        assert "<script>alert" not in text and "<img src=x" not in text
        assert "{{ 7 * 7 }}" in text and "49" not in re.findall(r"onerror=alert\(2\)&gt; (\S+)", text)
        links = parsed(page)
        assert links.tags.count("script") == text.count('src="') - text.count("<img"), "no script of theirs"


def test_a_task_that_nobody_knows_has_a_page_too(some: Path, tmp_path: Path):
    path = some / "gaussian" / "vae" / one_of("gaussian", "vae").name
    raw = json.loads(path.read_text())
    raw["task"]["name"] = "a-strangers-task"
    path.write_text(json.dumps(raw))
    assert build(some, tmp_path / "site") == []
    assert "relative_gap" in (tmp_path / "site" / "tasks" / "a-strangers-task.html").read_text()


@pytest.mark.medium
def test_odd_results_are_named_and_the_rest_is_built(some: Path, tmp_path: Path, cli):
    nested: list[object] = []
    for _ in range(400):
        nested = [{"a": nested}]
    odd = [
        changed(some, "no-metrics", task__name="mine", metrics={}),
        changed(some, "no-metrics-here", metrics={}),
        changed(some, "long-name", model__name="n" * 300),
        changed(some, "long-task", task__name="n" * 300),
        changed(some, "long-id", run_id="n" * 300),
        changed(some, "vast", seed=2, metrics={"relative_gap": 1.7e308}, model__name="vast"),
        changed(some, "vast-too", seed=3, metrics={"relative_gap": -1.7e308}, model__name="vast"),
        changed(some, "nested", details={"a": nested}, model__name="nested"),
        # Of two of one id the one that a model of the project made is kept.
        changed(some, "long-name-2", model__name="m" * 100),
    ]
    changed(some, "twice", run_id="long-name-2")
    said = cli("site", "build", "--results", some, "--out", "site")
    assert said.code == 1, said.err
    named = {line.split(": ")[1] for line in said.err.splitlines() if line.startswith("left out: ")}
    assert named == {str(path) for path in odd}
    home = (tmp_path / "site" / "index.html").read_text()
    assert "vast-too.json" in home and "no metric" in home
    made = resultfiles.read(one_of("gaussian", "vae"))
    page = (tmp_path / "site" / "tasks" / "gaussian.html").read_text()
    assert f'data-value="{made.metrics["relative_gap"]}"' in page
    assert (tmp_path / "site" / "results" / "gaussian" / made.model.name / "long-name-2.html").exists()
    for page in (tmp_path / "site").rglob("*.html"):
        for target in parsed(page).targets:
            if not target.startswith(("http", "data:", "#")):
                assert (page.parent / unquote(target.partition("#")[0])).exists(), f"{page} -> {target}"


def test_a_row_that_no_table_can_hold_is_named_and_the_others_are_there(
    some: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    odd = [changed(some, f"odd-{seed}", model__name="odd", seed=seed) for seed in (0, 1)]
    rows = views.tables.rows

    def fail(results, task, **more):
        if any(result.model.name == "odd" for result in results):
            raise OverflowError("too large")
        return rows(results, task, **more)

    monkeypatch.setattr("ebbench.site.views.tables.rows", fail)
    problems = build(some, tmp_path / "site")
    assert [problem.path for problem in problems] == odd and "too large" in problems[0].reason
    made = resultfiles.read(one_of("gaussian", "vae"))
    page = (tmp_path / "site" / "tasks" / "gaussian.html").read_text()
    assert f'data-value="{made.metrics["relative_gap"]}"' in page and "odd" not in page


def test_a_chart_of_odd_details_is_named_and_its_page_is_there(some: Path, tmp_path: Path):
    path = some / "stackedmnist" / "meg" / one_of("stackedmnist", "meg").name
    raw = json.loads(path.read_text())
    raw["details"]["modes_by_count"] = ["many", {"few": 1}]
    path.write_text(json.dumps(raw))
    (problem,) = build(some, tmp_path / "site")
    assert problem.path == Path("tasks/stackedmnist.html") and "How often each mode was met" in problem.reason
    page = (tmp_path / "site" / "tasks" / "stackedmnist.html").read_text()
    assert "The table" in page and "<svg" in page


BROKEN = {
    "raise RuntimeError('not any more')": "not any more",
    "import ebbench\n\n\nclass T(ebbench.Task):\n    pass\n": "does not declare what it must",
    "import ebbench\n\n\nclass T(ebbench.Task):\n    version = 1\n    protocols = {}\n    published = ()\n"
    "    metrics = ('kl',)\n": "no Metric",
}


@pytest.mark.parametrize("code", list(BROKEN))
def test_a_task_that_does_not_load_is_named_and_its_page_says_what_it_can(
    code: str, some: Path, tmp_path: Path, plugins: Path, cli
):
    changed(some, "of-dots", task__name="dots", metrics={"kl": 0.25, "other": 2.0}, hash_kind="source")
    folder = plugins / "dots"
    (folder / "task.py").write_text(code)
    (folder / "README.md").write_text("# Dots\n\nWords of its author, see [this](../../docs/findings.md).\n")
    said = cli("site", "build", "--results", some, "--out", "site")
    assert said.code == 1 and f"left out: {folder}: " in said.err and BROKEN[code] in said.err
    page = (tmp_path / "site" / "tasks" / "dots.html").read_text()
    assert "Words of its author" in page and 'href="../findings.html"' in page
    assert "0.25" in page and "nothing is ranked" in page and BROKEN[code] in page
    assert "nothing is ranked" not in (tmp_path / "site" / "tasks" / "gaussian.html").read_text()
    assert str(tmp_path) not in page, "no path of this machine"


def test_a_method_that_does_not_load_is_named_and_its_page_is_there(
    some: Path, tmp_path: Path, plugins: Path, cli
):
    (plugins / "blob" / "model.py").write_text("import a_package_that_is_nowhere\n")
    said = cli("site", "build", "--results", some, "--out", "site")
    assert said.code == 1 and "a_package_that_is_nowhere" in said.err
    page = (tmp_path / "site" / "methods" / "blob.html").read_text()
    assert "does not load here" in page and "a_package_that_is_nowhere" in page


def test_two_names_never_share_a_page(some: Path, tmp_path: Path):
    for i, name in enumerate(("a/b", "a_b", "..", "A b", "é")):
        changed(some, f"named-{i}", task__name=name, model__name=name)
    assert build(some, tmp_path / "site") == []
    pages = [path.name for path in (tmp_path / "site" / "methods").glob("*.html")]
    assert {"a_b.html"} <= set(pages) and len([name for name in pages if name.startswith("a_b")]) == 2


def test_a_picture_that_is_a_link_is_on_no_page(some: Path, tmp_path: Path):
    made = resultfiles.read(one_of("stackedmnist", "meg"))
    picture = some / "stackedmnist" / "meg" / made.pictures["samples"]
    (tmp_path / "private.png").write_bytes(picture.read_bytes())
    picture.unlink()
    picture.symlink_to(tmp_path / "private.png")
    build(some, tmp_path / "site")
    assert not list((tmp_path / "site").rglob(picture.name))
    for page in (tmp_path / "site").rglob("*.html"):
        assert f'src="{picture.name}"' not in page.read_text() and f'/{picture.name}"' not in page.read_text()
