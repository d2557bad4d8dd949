"""The pages beside the board: compare, docs and their search, findings, what changed; and pieces of them."""

from __future__ import annotations

import json
import re
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from ebbench.site import changes, grids, matrix, sources, strips, wording, words
from ebbench.site.known import Known
from ebbench.site.views import TaskView

import boards
from ebbench.board.row import Row
from ebbench.contract import Metric, Published
from ebbench.record import resultfiles

ROOT = Path(__file__).resolve().parents[2]
FID = Metric(name="fid", unit="", better="lower", doc="", primary=True)


def row(model: str, *values: float, **more: object) -> Row:
    return boards.row("fid", model, *values, **{"title": model.upper()} | more)


def test_a_strip_is_on_the_axis_of_all_rows():
    rows = [row("a", 2.0), row("b", 4.0), row("c", 1.0, kind="control"), row("d", 9.0, kind="control")]
    on = strips.scale(rows, FID)
    assert on is not None and on.name == "C", "the control with the lowest FID"
    places = []
    for one in rows:
        drawn = ET.fromstring(str(strips.strip(one, on)))
        mean, reference = (drawn.find(f".//line[@class='{kind}']") for kind in ("mean", "reference"))
        places.append(float(mean.get("x1")))
        assert float(reference.get("x1")) == pytest.approx(on.axis.at(1.0), abs=0.01)
    # 1, 2, 4 and 9 on a linear axis: the distances are as the differences.
    assert (places[1] - places[0]) / (places[3] - places[2]) == pytest.approx(2 / 8, abs=0.01)


def test_a_zero_among_decades_lies_at_the_start_of_the_axis():
    rows = [row("a", 0.01), row("b", 1000.0), row("c", 0.0, kind="control")]
    on = strips.scale(rows, FID)
    assert on is not None and on.axis.log
    assert on.axis.at(0.0) == on.axis.start
    assert all(strips.strip(one, on) for one in rows)


def test_a_task_names_the_options_that_other_rows_have_otherwise():
    three = row("a", 1.0, 2.0, options={"stacks": 3, "source": "x", "size": 28})
    four = row("a", 1.0, 2.0, options={"stacks": 4, "source": "x", "size": 28}, budget="smoke")
    held = Known(metrics=(FID,))
    assert TaskView("t", held, [three, four], {}).setting == "stacks=3"
    assert TaskView("t", held, [three], {}).setting == TaskView("t", held, [], {}).setting == ""


def test_a_result_is_called_by_all_that_is_not_plain():
    called = set()
    for path in (ROOT / "results" / "toy2d" / "ddls").glob("*.json"):
        called.add(wording.settings(resultfiles.read(path)))
    assert "ddls, base=gan ddls.step_size=0.003 ddls.steps=200" in called
    assert "fine-tuned, mala, base=gan mala.step_size=0.0001 mala.steps=1000" in called
    plain = next((ROOT / "results" / "kdd99" / "vae").glob("cpu-*.json"))
    assert wording.settings(resultfiles.read(plain)) == ""


def test_the_best_published_number_is_of_the_same_protocol_and_options():
    def paper(label: str, value: float, **more: object) -> Published:
        return Published.row(label, {"fid": value}, "a table", **more)

    found = [
        paper("all", 5.0),
        paper("better", 4.0, options={"stacks": 3}),
        paper("another task", 1.0, options={"stacks": 4}),
        paper("another protocol", 0.5, protocol="published"),
    ]
    best = strips.best_published(found, FID, row("a", 1.0, options={"stacks": 3}))
    assert best is not None and best[0].label == "better" and best[1] == 4.0


@pytest.mark.parametrize(
    ("name", "unit", "words"),
    [
        ("average_precision", "share", "Average precision (share, 0 to 1, lower is better)"),
        ("kl", "nats", "KL divergence (nats, lower is better)"),
        ("fid_cifar_5k", "", "FID (CIFAR features) (5,000 samples) (lower is better)"),
        ("modes", "modes", "Modes (lower is better)"),
    ],
)
def test_metrics_have_names_in_words(name: str, unit: str, words: str):
    one = Metric(name=name, unit=unit, better="lower", doc="")
    assert f"{wording.metric(one)} ({wording.unit(one)})" == words


def test_metrics_are_found_where_they_are_declared_and_computed(tmp_path: Path):
    code = (
        "METRICS = (\n"
        "    Metric(name='kl', unit='nats', better='lower', doc=''),\n"
        "    Metric(name=f'fid{suffix}', unit='', better='lower', doc=''),\n"
        ")\n"
        "def score(x):\n"
        "    values = {'kl': 1.0}\n"
        "    values[f'fid{suffix}'] = 2.0\n"
    )
    (tmp_path / "task.py").write_text(code)
    (tmp_path / "broken.py").write_text("def")
    read = sources.read(sources.python_files(tmp_path))
    found = {name: [(p.what, p.line) for p in sources.places(name, read)] for name in ("kl", "fid_5k", "is")}
    assert found == {
        "kl": [("declared", 2), ("computed", 6)],
        "fid_5k": [("declared", 3), ("computed", 7)],
        "is": [],
    }


def test_every_place_of_a_metric_is_a_line_of_a_page(board: Path):
    page = (board / "tasks" / "stackedmnist.html").read_text()
    links = re.findall(r'href="([\w.-]+\.html)#(L-\d+)"><code>[\w/.-]+:(\d+)', page)
    assert len(links) >= 4
    for name, anchor, line in links:
        text = (board / "tasks" / name).read_text()
        assert f'id="{anchor}"' in text and anchor == f"L-{line}"


def test_code_is_coloured_and_no_markup_of_its_own_gets_through():
    made = sources.coloured('x = "<script>alert(1)</script>"  # no\n', "model.py")
    assert 'class="s2"' in made and "<script" not in made and "&lt;script&gt;" in made


def grid_of(folder: Path) -> grids.Grid:
    (folder / "plans" / "grids").mkdir(parents=True)
    (folder / "plans" / "grids" / "small.toml").write_text(
        'task = "mnist"\nmetric = "i_prime"\nthreshold = 3.0\n'
    )
    (folder / "grids" / "small").mkdir(parents=True)
    rows = [
        {"method": method, "outcome": "done", "metrics": {"i_prime": value}}
        for method, values in {"GAN": [1.0, 1.0, 5.0, 5.0], "EBGAN": [5.0, 5.0]}.items()
        for value in values
    ]
    rows.append({"method": "GAN", "outcome": "diverged", "metrics": {}})
    (folder / "grids" / "small" / "runs.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (found,) = grids.read(folder)
    return found


def test_a_grid_is_a_histogram_of_shares(tmp_path: Path):
    grid = grid_of(tmp_path)
    assert (grid.task, grid.threshold, grid.diverged) == ("mnist", 3.0, 1)
    (chart,) = grids.drawings(TaskView("mnist", Known(), [], {}), [grid])
    drawn = ET.fromstring(str(chart.draw()))
    heights = []
    for line in ("line-0", "line-1"):
        path = next(e for e in drawn.iter("path") if line in e.get("class", ""))
        ys = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", path.get("d"))]
        heights.append(164 - min(ys))
    # The tallest bar of GAN is half of its runs, that of EBGAN all: twice as high.
    assert heights[1] == pytest.approx(2 * heights[0], rel=0.01)
    assert list(grids.drawings(TaskView("toy2d", Known(), [], {}), [grid])) == []


def test_a_broken_grid_is_left_out(tmp_path: Path):
    grid_of(tmp_path)
    (tmp_path / "grids" / "small" / "runs.jsonl").write_text('{"method": 1}\n')
    assert grids.read(tmp_path) == []


def test_there_is_a_page_for_each_finding_and_its_figures_are_there(board: Path):
    overview = (board / "findings.html").read_text()
    pages = re.findall(r'<h2><a href="(findings/[\w.-]+)">', overview)
    files = [f"findings/{path.stem}.html" for path in (ROOT / "docs" / "findings").glob("*.md")]
    assert sorted(pages) == sorted(files) and len(files) > 10
    for page in pages:
        whole = (board / page).read_text()
        assert len(re.findall("<h1[ >]", whole)) == 1 and "&lt;!--" not in whole
        for figure in re.findall(r'<img src="([^"]+)"', whole):
            assert (board / page).parent.joinpath(figure).resolve().is_file()


def test_the_search_index_leads_to_places_that_are_there(board: Path):
    script = (board / "search-index.js").read_text(encoding="utf-8")
    entries = json.loads(script.removeprefix("const INDEX = ").removesuffix(";\n"))
    assert len(entries) > 60
    for entry in entries:
        page, _, anchor = entry["u"].partition("#")
        text = (board / page).read_text(encoding="utf-8")
        assert not anchor or f'id="{anchor}"' in text, entry["u"]
    asked = [e["t"] for e in entries if "ed25519" in e["x"].lower()]
    assert "Trust" in asked


def test_plain_words_have_no_marks():
    text = "**KL** of [`meg`](a.md): .93 +- .02\n\n| a | b |\n|---|---|\n"
    assert words.plain(text) == "KL of meg: .93 ± .02 a b"


def test_the_feed_is_atom_and_its_days_are_those_of_the_results(board: Path):
    atom = "{http://www.w3.org/2005/Atom}"
    feed = ET.fromstring((board / "feed.xml").read_text(encoding="utf-8"))
    assert feed.tag == f"{atom}feed" and feed.find(f"{atom}id") is not None
    entries = feed.findall(f"{atom}entry")
    created = {json.loads(path.read_text())["created"][:10] for path in (ROOT / "results").glob("*/*/*.json")}
    dates = [entry.find(f"{atom}updated").text[:10] for entry in entries]
    assert dates == sorted(created, reverse=True)[: changes.MOST_DAYS]
    assert feed.find(f"{atom}updated").text[:10] == max(created)


def test_only_what_moved_scores_or_ranks_is_a_decision(tmp_path: Path):
    entries = ["A. *Changes no score.*", "B. *Changes ranks.*", "C. *Changes the scores of D.*"]
    text = "# Changelog\n\n## 1.0\n\n" + "".join(f"- {entry}\n" for entry in entries)
    (tmp_path / "CHANGELOG.md").write_text(text)
    assert changes.decisions(tmp_path) == [("1.0", ["B. *Changes ranks.*", "C. *Changes the scores of D.*"])]


def test_methods_can_be_compared_without_script(board: Path):
    text = (board / "compare.html").read_text()
    names = re.findall(r'<th scope="col" data-method="([\w-]+)"', text)
    assert {"meg", "wgan-gp", "vae"} <= set(names) and "real-data" not in names
    rows = text.split("<tbody>")[1].split("</tbody>")[0].split("<tr")[1:]
    assert len(rows) > 5 and all(row.count("data-method=") == len(names) for row in rows)


def test_every_number_of_a_claim_says_whose_it_is(board: Path):
    text = (board / "claims.html").read_text(encoding="utf-8")
    stated = {}
    for path in (ROOT / "tasks").glob("*/claims.toml"):
        for one in tomllib.loads(path.read_text(encoding="utf-8"))["claim"]:
            stated[f"{path.parent.name}-{one['id']}"] = one
    compared = 0
    for name, row in re.findall(r'<tr id="([^"]+)"[^>]*>(.*?)</tr>', text, re.DOTALL):
        sides = [re.sub(r"<.*?>", "", who) for who in re.findall(r'<span class="who">(.*?)</span>', row)]
        if not sides:
            assert "result_page" not in row and "cpu-" not in row, "runs without a name"
        elif "than" in stated[name]:
            compared += 1
            assert len(set(sides)) == 2, name
        else:
            assert sides[1:] == ["claimed"], name
    assert compared > 10


def test_a_method_s_page_has_a_command_for_each_task_and_folds_the_others(board: Path):
    page = (board / "methods" / "meg.html").read_text(encoding="utf-8")
    shown = page.split('<dl class="commands">')[1].split("</dl>")[0]
    tasks = re.findall(r"--task (\S+)", shown)
    assert len(tasks) == len(set(tasks)) > 5 and "meg:" not in shown
    folded = page.split("</dl>", 1)[1].split('<details class="fold"><summary>The commands')[1]
    assert folded.count("ebbench run ") > len(tasks) > shown.count("--sampler ") > 0


def test_a_method_s_page_says_which_of_its_tasks_have_no_standing(board: Path):
    named = 0
    for page in sorted((board / "methods").glob("*.html")):
        results, _, rows = page.read_text(encoding="utf-8").partition("<h3>All rows</h3>")
        if "The best row of" not in results:
            continue
        standing = set(re.findall(r'class="name">.*?<a href="[^"]+">(.*?)</a>', results))
        folded = set(re.findall(r'<details class="fold"[^>]*><summary>(.*?) \(\d+ rows?\)', rows))
        (left,) = re.findall(r"Not in this table: (.*?)\. The rows", results) or [""]
        assert folded - standing == set(filter(None, left.split(", "))), page.name
        named += bool(left)
    assert named, "no page has such a task: use results of a test's own"


def test_what_was_run_at_other_settings_is_not_called_not_run():
    many = [row(name, 1.0, options={"samples": 50000}) for name in ("a", "b")]
    few = [row(name, 1.0, options={"samples": 5000}) for name in ("a", "c")]
    task = TaskView("t", Known(metrics=[FID], protocols={"clean": ""}), [*many, *few], {})
    assert {one.model for one in task.headline} == {"a", "b"}
    assert matrix.elsewhere(task, "c") == "only at samples=5000"
    assert matrix.elsewhere(task, "d") == ""


def test_an_untrained_net_in_the_headline_does_not_hide_where_its_method_was_run():
    new = [row(name, 1.0, task_version=2) for name in ("a", "b")]
    untrained = row("c", 9.0, kind="control", task_version=2)
    task = TaskView("t", Known(metrics=[FID], protocols={"clean": ""}), [*new, untrained, row("c", 1.0)], {})
    assert {one.task_version for one in task.headline} == {2}
    assert matrix.elsewhere(task, "c") == "only at version 1"


def test_the_newest_version_that_compares_two_models_stands_for_its_task():
    old = [row(name, 1.0, task_version=1) for name in ("a", "b", "c")]
    new = [row(name, 1.0, task_version=2) for name in ("a", "b")]

    def standing(*rows: Row) -> set[int]:
        known = Known(metrics=[FID], protocols={"clean": ""})
        return {one.task_version for one in TaskView("t", known, list(rows), {}).headline}

    assert standing(*old, *new) == {2}
    # A model's variant, or its control, is no second model.
    variant = row("a", 1.0, task_version=2, variant="pt")
    assert standing(*old, new[0], variant, row("d", 1.0, task_version=2, kind="control")) == {1}
    assert standing(old[0], new[0]) == {2}


def test_a_page_of_words_is_marked_in_the_list_beside_it(board: Path):
    for page, kind in (("docs/tutorial.html", "Docs"), ("findings/kdd99.html", "Findings")):
        text = (board / page).read_text(encoding="utf-8")
        beside = text.split(f'<nav class="side" aria-label="{kind}">')[1].split("</nav>")[0]
        assert re.findall(r'<a href="\.\./([^"]+)" aria-current="page">', beside) == [page]
        places = re.findall(r'href="#([^"]+)"', beside)
        assert len(places) > 1 and all(f'<h2 id="{place}">' in text for place in places)


def test_a_results_parts_are_a_table(board: Path):
    path = sorted((ROOT / "results" / "gaussian" / "vae").glob("cpu-*.json"))[0]
    result = json.loads(path.read_text(encoding="utf-8"))
    page = (board / "results" / "gaussian" / "vae" / f"{path.stem}.html").read_text(encoding="utf-8")
    table = ET.fromstring(re.search(r"<table>.*?</table>", page, re.DOTALL)[0])
    head, *lines = [[cell.text for cell in row] for row in table.iter("tr")]
    assert [line[0] for line in lines] == [part["name"] for part in result["parts"]]
    shown = [float(line[head.index("relative_gap")]) for line in lines]
    assert shown == pytest.approx([part["metrics"]["relative_gap"] for part in result["parts"]], rel=1e-5)
    # A metric of one part alone has no column, and the facts of the parts stand nowhere else.
    assert "relative_gap_5" not in head and "[0]." not in page
