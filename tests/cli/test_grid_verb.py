"""`ebbench grid`: what has a row is not run again, rows lie apart from the board, a divergence has a row."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from test_sweep import Here

from ebbench.grids import report, runs
from ebbench.threads import COUNT

SPEC = """
task = "dots"
budget = "smoke"
threshold = 0.1
[[methods]]
name = "Blob"
model = "blob"
axes = { steps = [3, 4, 5], lr = [0.01, 0.02] }
[[methods]]
name = "Still"
model = "blob:still"
axes = { lr = [0.01, 0.02, 0.03] }
"""


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, plugins: Path, tmp_path: Path) -> Iterator[Here]:
    """The runs of a grid in this process; the grid is in dots.toml."""
    executor, threads = Here(), torch.get_num_threads()
    monkeypatch.setattr(runs, "LocalProcesses", lambda *_: executor)
    # A run settles its threads for the whole process.
    for name in COUNT:
        monkeypatch.setenv(name, str(threads))
    (tmp_path / "dots.toml").write_text(SPEC)
    yield executor
    torch.set_num_threads(threads)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take seconds."""
    monkeypatch.setattr(report.Report, "make", lambda self: [self._page()])


def rows(tmp_path: Path) -> list[dict[str, Any]]:
    file = tmp_path / "results" / "grids" / "dots" / "runs.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.medium
def test_the_whole_product_is_run_once_and_lies_apart_from_the_board(cli, here: Here, tmp_path: Path):
    first = cli("grid", "dots.toml")
    assert first.code == 0 and "9 done, 0 done before, 0 failed, 0 left" in first.out, first
    assert "Blob: 6 of 6 settings" in first.out and len(here.commands) == 9
    made = rows(tmp_path)
    assert [(row["method"], row["index"]) for row in made] == [("Blob", i) for i in range(6)] + [
        ("Still", i) for i in range(3)
    ]
    for row in made:
        assert set(row["metrics"]) == {"error", "spread"} and row["outcome"] == "done"
        command = next(words for words in here.commands if f"lr={row['axes']['lr']}" in words)
        assert "--task dots" in command and row["parameters"] > 0
    folder = tmp_path / "results" / "grids" / "dots"
    assert {path.name for path in folder.iterdir()} > {"runs.jsonl", "summary.md", "histograms.png"}
    assert not list((tmp_path / "results").rglob("*.json")), "the board has none of it"
    # Results are kept in the run store, trained states are not.
    assert len(list((tmp_path / "home" / "grids" / "dots").rglob("*.json"))) == 9
    assert not list((tmp_path / "home" / "runs").rglob("state*"))

    before = folder.joinpath("runs.jsonl").read_bytes()
    again = cli("grid", "dots.toml")
    assert again.code == 0 and "0 done, 9 done before" in again.out and len(here.commands) == 9
    assert folder.joinpath("runs.jsonl").read_bytes() == before


@pytest.mark.medium
def test_a_row_is_enough_and_so_is_a_result_in_the_run_store(cli, here: Here, undrawn: None, tmp_path: Path):
    cli("grid", "dots.toml")
    made = rows(tmp_path)
    # On another machine, where nothing but the committed rows is.
    shutil.rmtree(tmp_path / "home")
    again = cli("grid", "dots.toml")
    assert "0 done, 9 done before" in again.out and len(here.commands) == 9
    # And the other way round: rows that were lost are gathered again.
    cli("grid", "dots.toml", "--results", "other")
    assert len(here.commands) == 18
    (tmp_path / "other" / "grids" / "dots" / "runs.jsonl").unlink()
    gathered = cli("grid", "dots.toml", "--results", "other")
    assert "0 done, 9 done before" in gathered.out and len(here.commands) == 18
    shutil.copytree(tmp_path / "other", tmp_path / "results", dirs_exist_ok=True)
    timeless = [{k: v for k, v in row.items() if k != "seconds"} for row in rows(tmp_path)]
    assert timeless == [{k: v for k, v in row.items() if k != "seconds"} for row in made]


@pytest.mark.medium
def test_a_random_part_grows_without_repeating_itself(cli, here: Here, undrawn: None, tmp_path: Path):
    said = cli("grid", "dots.toml", "--sample", "2", "--sample", "Still=1")
    assert "Blob: 2 of 6 settings" in said.out and "Still: 1 of 3 settings" in said.out
    few = rows(tmp_path)
    assert len(few) == 3
    more = cli("grid", "dots.toml", "--sample", "4")
    assert "4 done, 3 done before" in more.out, more
    assert len(rows(tmp_path)) == 7 and all(row in rows(tmp_path) for row in few)


def test_kept_states_are_kept(cli, here: Here, undrawn: None, tmp_path: Path):
    (tmp_path / "dots.toml").write_text("keep = true\n" + SPEC)
    cli("grid", "dots.toml", "--sample", "1")
    assert len(list((tmp_path / "home" / "runs").rglob("state.json"))) == 2


@pytest.mark.medium
def test_a_training_that_diverges_is_an_outcome(
    cli, here: Here, undrawn: None, plugins: Path, tmp_path: Path
):
    model = plugins / "blob" / "model.py"
    bad = "run.log(loss=loss * (float('nan') if self.config.lr == 0.02 else 1.0))"
    model.write_text(model.read_text().replace("run.log(loss=loss)", bad))
    said = cli("grid", "dots.toml")
    assert said.code == 0 and "9 done, 0 done before, 0 failed" in said.out, said
    lost = [row for row in rows(tmp_path) if row["outcome"] == "diverged"]
    assert [(row["method"], row["axes"]["lr"]) for row in lost] == [("Blob", 0.02)] * 3
    ran = len(here.commands)
    assert "9 done before" in cli("grid", "dots.toml").out and len(here.commands) == ran
    page = (tmp_path / "results" / "grids" / "dots" / "summary.md").read_text()
    assert "| Blob | 6 | 6 | 3 |" in page


@pytest.mark.medium
def test_another_failure_is_one_and_leaves_no_row(
    cli, here: Here, undrawn: None, plugins: Path, tmp_path: Path
):
    model = plugins / "blob" / "model.py"
    bad = "1 / (self.config.lr != 0.02)\n            run.log(loss=loss)"
    model.write_text(model.read_text().replace("run.log(loss=loss)", bad))
    said = cli("grid", "dots.toml")
    assert said.code == 1 and "6 done, 0 done before, 3 failed" in said.out, said
    assert len(rows(tmp_path)) == 6


@pytest.mark.medium
def test_a_report_alone_runs_nothing(cli, here: Here, tmp_path: Path):
    empty = cli("grid", "dots.toml", "--report", "out")
    assert empty.code == 0 and not here.commands
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["summary.md"]
    cli("grid", "dots.toml")
    drawn = cli("grid", "dots.toml", "--report", "out")
    assert drawn.code == 0 and len(here.commands) == 9 and "wrote" in drawn.out
    assert (tmp_path / "out" / "by-lr.png").exists()


def test_damaged_rows_end_it_before_anything_is_run(cli, here: Here, undrawn: None, tmp_path: Path):
    cli("grid", "dots.toml", "--sample", "1")
    file = tmp_path / "results" / "grids" / "dots" / "runs.jsonl"
    file.write_text(file.read_text()[:-20])
    said = cli("grid", "dots.toml")
    assert said.code == 2 and "cannot be read at line 2" in said.err and len(here.commands) == 2
