"""The rows of a grid whose file or whose code was changed: none is counted twice, none is counted wrongly."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from ebbench.errors import UsageError
from ebbench.grids import runs
from ebbench.grids.report import Report
from ebbench.grids.spec import Grid, read_grid

GRID = """
task = "dots"
budget = "smoke"
threshold = 0.5
seeds = "0-1"
set = { pause = 0.0 }
[[methods]]
name = "one"
model = "blob"
[methods.axes]
steps = [1, 2, 3]
lr = [0.1, 0.01]
"""


def grid(folder: Path, text: str = GRID) -> Grid:
    path = folder / "g.toml"
    path.write_text(text)
    return read_grid(path)


def row(of: Grid, axes: dict[str, Any], error: float = 0.1, **more: Any) -> runs.Row:
    method = of.methods[0]
    said: dict[str, Any] = {"method": method.name, "index": method.place(axes) or 0, "seed": 0, "axes": axes}
    said |= {"outcome": "done", "metrics": {"error": error}, "run": "r", "basis": of.basis(method)}
    return runs.Row(**said | {"model_code": "a", "task_code": "b"} | more)


def test_a_setting_and_its_number_are_one(plugins: Path, tmp_path: Path):
    method = grid(tmp_path).methods[0]
    product = [{"steps": s, "lr": r} for s, r in itertools.product([1, 2, 3], [0.1, 0.01])]
    assert [method.at(i) for i in range(method.size)] == product
    assert [method.place(axes) for axes in product] == list(range(6))
    assert method.place({"steps": 4, "lr": 0.1}) is None
    assert method.place({"steps": 1}) is None
    assert method.place({"steps": 1, "lr": 0.1, "pause": 1.0}) is None


def test_a_run_by_other_code_takes_the_place_of_the_older(plugins: Path, tmp_path: Path):
    of = grid(tmp_path)
    axes = {"steps": 2, "lr": 0.1}
    old = row(of, axes, 0.9)
    new = row(of, axes, 0.1, run="s", model_code="c")
    other_seed = row(of, axes, 0.9, seed=1)
    rows = runs.replaced([old, other_seed], [new])
    assert rows == [new, other_seed]
    runs.write_rows(of, tmp_path / "runs.jsonl", rows)
    assert runs.read_rows(tmp_path / "runs.jsonl") == [new, other_seed]


@pytest.mark.medium
def test_the_report_says_that_rows_are_of_two_versions(plugins: Path, tmp_path: Path):
    of = grid(tmp_path)
    alike = [row(of, {"steps": s, "lr": 0.1}) for s in (1, 2)]
    Report(of, alike, tmp_path / "out").make()
    assert "versions of the code" not in (tmp_path / "out" / "summary.md").read_text()
    Report(of, [alike[0], row(of, {"steps": 2, "lr": 0.1}, model_code="c")], tmp_path / "out").make()
    assert "one are of 2 versions of the code" in (tmp_path / "out" / "summary.md").read_text()


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("steps = [1, 2, 3]", "steps = [1, 3]"),
        ("pause = 0.0", "pause = 0.001"),
        ('seeds = "0-1"', 'seeds = "1"'),
        ('budget = "smoke"', 'budget = "cpu"'),
        ('name = "one"', 'name = "two"'),
        ("lr = [0.1, 0.01]", ""),
    ],
)
def test_what_the_grid_has_no_longer_is_not_counted(plugins: Path, tmp_path: Path, was: str, now: str):
    before = grid(tmp_path)
    rows = [row(before, {"steps": 2, "lr": 0.1}, 0.9)]
    assert runs.current(before, rows) == rows
    after = grid(tmp_path, GRID.replace(was, now))
    assert runs.current(after, rows) == []
    report = Report(after, rows, tmp_path / "out")
    assert report.names == []
    report.make()
    assert "1 rows of settings that the grid no longer has" in (tmp_path / "out" / "summary.md").read_text()


def test_a_value_more_keeps_the_rows_and_numbers_them_anew(plugins: Path, tmp_path: Path):
    before = grid(tmp_path)
    rows = [row(before, {"steps": s, "lr": 0.01}) for s in (1, 2, 3)]
    after = grid(tmp_path, GRID.replace("[0.1, 0.01]", "[0.1, 0.05, 0.01]"))
    assert runs.current(after, rows) == rows
    runs.write_rows(after, tmp_path / "runs.jsonl", rows)
    written = runs.read_rows(tmp_path / "runs.jsonl")
    assert [r.index for r in rows] == [1, 3, 5]
    assert [r.index for r in written] == [2, 5, 8]
    assert [after.methods[0].at(r.index) for r in written] == [r.axes for r in written]


@pytest.mark.parametrize("name", ["..", ".", "../other", "a/b", ".hidden"])
def test_a_grid_stays_in_its_folder(plugins: Path, tmp_path: Path, name: str):
    with pytest.raises(UsageError, match="the grid is wrong at 'name'"):
        grid(tmp_path, f'name = "{name}"\n{GRID}')
    (tmp_path / "..toml").write_text(GRID)
    assert read_grid(tmp_path / "..toml").name == "_"
