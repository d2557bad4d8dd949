"""`ebbench table`: every format says the same, and nothing else goes to stdout."""

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import toys
from ebbench.record import resultfiles, schema
from ebbench.storage.made import mark

GOLDEN = Path(__file__).parents[1] / "golden" / "result-v3.json"
COMMITTED = Path(__file__).parents[2] / "results"
PUBLISHED = """version = 1
    published = (
        Published(label="Blob", metrics={"error": (0.125, 0.01)}, source="A & B (2019), 50 %",
                  confidence="recalled", model="blob"),
    )
"""


@pytest.fixture
def task(tmp_path, monkeypatch):
    """The toy task with one published row, on EBBENCH_PATH."""
    code = toys.TASK.replace("Metric, Score", "Metric, Published, Score").replace("version = 1\n", PUBLISHED)
    toys.write_task(tmp_path / "plugins", code)
    monkeypatch.setenv("EBBENCH_PATH", str(tmp_path / "plugins"))


@pytest.fixture
def keep(tmp_path):
    """Write a result of the toy task under results/; keywords replace whole parts of it."""

    def write(model="blob", seed=0, error=0.1, **parts):
        raw = json.loads(GOLDEN.read_text(encoding="utf-8"))
        raw["task"] = {"name": "dots", "version": 1, "protocol": "clean", "source": "dots", "options": {}}
        raw["model"] |= {"name": model, "kind": parts.pop("kind", "model")}
        raw |= {"run_id": f"{model}-{len(parts)}-s{seed}", "seed": seed, "overrides": {}, "sampler": None}
        raw |= {"metrics": {"error": error, "spread": 0.2}, "budget": "smoke", "verification": None, **parts}
        made = schema.build(raw)
        resultfiles.write(made, tmp_path / "results" / "dots" / model / f"{made.run_id}.json")
        mark(made.digest())

    return write


def test_json_is_the_rows_and_nothing_else(cli, task, keep):
    keep(seed=0, error=0.1)
    keep(seed=1, error=0.2)
    said = cli("table", "--task", "dots", "--format", "json")
    (row,) = json.loads(said.out)
    assert (said.code, said.err) == (0, "")
    assert row["seeds"] == [0, 1]
    assert row["metrics"]["error"]["values"] == [0.1, 0.2]
    assert row["metrics"].keys() == {"error", "spread"}
    assert row["published"]["error"]["value"] == 0.125
    assert (row["tier"], row["block"]) == ("made here", "")


def test_no_results_are_an_empty_list(cli, task):
    said = cli("table", "--task", "dots", "--format", "json")
    assert (said.code, json.loads(said.out)) == (0, [])
    assert "no results of task 'dots' in results" in said.err


def test_a_task_may_be_given_by_its_path(cli, task, keep, tmp_path):
    keep()
    said = cli("table", "--task", tmp_path / "plugins" / "dots", "--format", "json")
    assert [row["task"] for row in json.loads(said.out)] == ["dots"]


@pytest.mark.parametrize("form", ["rich", "markdown", "latex"])
def test_a_table_says_mean_interval_n_level_and_published(cli, task, keep, form):
    for seed, error in enumerate([0.1, 0.2, 0.15]):
        keep(seed=seed, error=error)
    keep(model="noise", kind="control", error=0.9)
    said = cli("table", "--task", "dots", "--format", form)
    assert said.code == 0
    plain = said.out.replace(r"$\pm$", "±").replace("\\", "")
    # Student's t for 2 degrees of freedom: 4.3027 * 0.05 / sqrt(3).
    assert "0.15 ± 0.12" in plain
    assert "0.125 ± 0.01 (recalled)" in plain
    assert "95% interval, Student t" in plain
    assert "n = 1 to 3" in plain
    assert "error (lower is better)" in plain
    assert "source=dots" in plain
    assert plain.index("noise (control)") > plain.index("blob")
    assert "spread" not in plain
    assert "spread" in cli("table", "--task", "dots", "--format", form, "--all-metrics").out


def test_markdown_is_a_table_of_equal_columns(cli, task, keep):
    keep(overrides={"note": "a|b_[c]"})
    lines = cli("table", "--task", "dots", "--format", "markdown").out.splitlines()
    sheet = [line for line in lines if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in sheet}) == 1
    assert r"note=a\|b\_\[c\]" in sheet[2]


@pytest.mark.medium
def test_a_group_has_columns_of_its_own_metrics(cli):
    said = cli("table", "--task", "cifar10", "--results", str(COMMITTED), "--format", "markdown")
    tables = said.out.split("### ")[1:]
    assert {"samples=50000" in table for table in tables} == {True, False}
    for table in tables:
        heads = table.splitlines()[2]
        assert ("fid\\_cifar\\_5k" in heads) == ("samples=5000," in table.splitlines()[0])
        assert ("fid\\_cifar |" in heads) == ("samples=50000," in table.splitlines()[0])
    assert "fid\\_cifar (lower is better), then is\\_cifar (higher is better), or by" in said.out


def test_latex_escapes(cli, task, keep):
    keep(overrides={"note": "50% & $x_1$ #{~^\\"})
    said = cli("table", "--task", "dots", "--format", "latex")
    escaped = r"50\% \& \$x\_1\$ \#\{\textasciitilde{}\textasciicircum{}\textbackslash{}"
    assert escaped in said.out
    body = [line for line in said.out.splitlines() if line.endswith(r"\\")]
    assert len({len(re.findall(r"(?<!\\)&", line)) for line in body}) == 1
    assert said.out.count("{") == said.out.count("}") + said.out.count(r"\{")


def test_rich_takes_no_setting_for_markup(cli, task, keep):
    keep(overrides={"note": "[bold]x[/bold]"})
    assert "note=[bold]x[/bold]" in cli("table", "--task", "dots").out


def test_csv_has_plain_numbers(cli, task, keep):
    keep(seed=0, error=0.1)
    keep(seed=1, error=0.2)
    keep(model="noise", kind="control", overrides={"by": 0.5})
    said = cli("table", "--task", "dots", "--format", "csv")
    first, second = csv.DictReader(io.StringIO(said.out))
    assert float(first["error_mean"]) == pytest.approx(0.15)
    assert float(first["error_low"]) < 0.15 < float(first["error_high"])
    assert (first["error_published"], first["error_published_plus_minus"]) == ("0.125", "0.01")
    assert (first["n"], first["seeds"], first["rank"]) == ("2", "0 1", "1")
    assert (second["error_low"], second["error_published"], second["rank"]) == ("", "", "")
    assert json.loads(second["overrides"]) == {"by": 0.5}


def test_csv_of_nothing_is_a_header(cli, task):
    assert cli("table", "--task", "dots", "--format", "csv").out.startswith("task,task_version,")


def test_a_sampler_s_knobs_stand_beside_the_sampler(cli, task, keep):
    keep(sampler={"name": "mala", "knobs": {"steps": 9}}, overrides={"mala.steps": 9, "width": 2})
    out = cli("table", "--task", "dots", "--format", "markdown").out
    assert "| blob width=2 | mala steps=9 |" in out


def test_ties_are_marked_and_groups_kept_apart(cli, task, keep):
    keep(model="a", error=0.5)
    keep(model="b", error=0.5)
    keep(model="c", error=0.7)
    keep(model="c", error=0.1, budget="cpu")
    out = cli("table", "--task", "dots", "--format", "markdown").out
    assert [line.split("|")[2].strip() for line in out.splitlines() if line.startswith("| ")] == [
        *("rank", "---:", "1"),
        *("rank", "---:", "1=", "1=", "3"),
    ]
    assert out.index("budget cpu") < out.index("budget smoke")


def test_filters(cli, task, keep):
    keep(model="a")
    keep(model="b", budget="cpu")
    keep(model="c", task={"name": "dots", "version": 1, "protocol": "published", "source": "dots"})

    def models(*words):
        return [
            row["model"] for row in json.loads(cli("table", "--task", "dots", "--format", "json", *words).out)
        ]

    assert models() == ["b", "a", "c"]
    assert models("--budget", "cpu") == ["b"]
    assert models("--protocol", "clean") == ["b", "a"]
    assert models("--budget", "paper") == []


def test_the_default_protocol_comes_first(cli, keep, tmp_path, monkeypatch):
    turned = '{"published": "the other one", "clean": "ours"}'
    toys.write_task(tmp_path / "plugins", re.sub(r"(?<=protocols = ).*", turned, toys.TASK))
    monkeypatch.setenv("EBBENCH_PATH", str(tmp_path / "plugins"))
    shared = {"name": "dots", "source": "dots"}
    keep(model="a", task=shared | {"version": 1, "protocol": "clean"})
    keep(model="b", task=shared | {"version": 1, "protocol": "published"})
    keep(model="c", task=shared | {"version": 2, "protocol": "clean"})
    rows = json.loads(cli("table", "--task", "dots", "--format", "json").out)
    assert [row["model"] for row in rows] == ["c", "b", "a"]


def test_what_was_left_out_is_said(cli, task, keep):
    keep(error=0.1, created="2026-01-01T00:00:00Z", run_id="old")
    keep(error=0.2)
    out = cli("table", "--task", "dots").out
    assert "blob, smoke, clean: left out: 1 result replaced by a newer one of the same seed." in out


def test_a_broken_file_is_named_and_the_rest_is_printed(cli, task, keep, tmp_path):
    keep()
    (tmp_path / "results" / "broken.json").write_text('{"schema_version": 7}')
    said = cli("table", "--task", "dots", "--format", "json")
    assert said.code == 1
    assert len(json.loads(said.out)) == 1
    assert "broken.json" in said.err
    assert "schema_version 7" in said.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task", "dotts"], "did you mean 'dots'?"),
        (["--task", "dots", "--format", "jsn"], "did you mean 'json'?"),
        (["--task", "dots", "--budget", "smok"], "did you mean 'smoke'?"),
        (["--task", "dots", "--protocol", "clan"], "did you mean 'clean'?"),
    ],
)
def test_an_unknown_name_is_a_clear_error(cli, task, keep, words, message):
    keep()
    said = cli("table", *words)
    assert (said.code, said.out) == (2, "")
    assert message in said.err


@pytest.mark.parametrize(
    ("words", "told"),
    [(["table"], "no such folder"), (["compare", "blob", "other"], "gone, which is not there")],
)
def test_a_folder_that_is_not_there_and_a_file_in_its_place_are_said(cli, plugins, tmp_path, words, told):
    (tmp_path / "file").write_text("no folder")
    said = cli(*words, "--task", "dots", "--results", "file")
    assert said.code == 2 and "file is a file" in said.err and "--results" in said.err
    assert told in cli(*words, "--task", "dots", "--results", "gone").err


def test_a_task_named_by_its_folder_is_here(cli, plugins, tmp_path):
    own = toys.write_task(tmp_path / "own", name="spots")
    run = ["run", "--task", own, "--model", "blob", "--budget", "smoke", "--set", "steps=1", "--quiet"]
    assert cli(*run).code == 0
    assert "not here" not in (said := cli("table", "--task", own)).out and "blob" in said.out


@pytest.mark.medium
def test_a_full_disk_behind_the_output_is_said(plugins):
    words = [sys.executable, "-m", "ebbench.cli.main", "list"]
    with open("/dev/full", "w") as full:
        made = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, check=False)
    assert made.returncode == 2 and b"output cannot be written" in made.stderr
    assert b"Traceback" not in made.stderr
