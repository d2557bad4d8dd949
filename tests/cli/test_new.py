"""`ebbench new`: what it writes works as it stands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


def test_a_new_model_passes_the_suite_and_runs(cli, plugins: Path, tmp_path: Path):
    said = cli("new", "model", "my-own-2")
    assert said.code == 0 and "ebbench test" in said.out
    assert cli("test", "./my-own-2").code == 0
    run = ["--task", "dots", "--model", "./my-own-2", "--budget", "smoke", "--results", "made", "--quiet"]
    said = cli("run", *run, "--json")
    assert said.code == 0, said.err
    (made,) = json.loads(said.out)
    assert made["result"]["model"]["title"] == "My Own 2" and made["result"]["training"]["steps"] == 100


def test_a_new_task_passes_the_suite_and_runs(cli, tmp_path: Path):
    assert cli("new", "task", "my-law", "--out", "deep/down").code == 0
    assert cli("test", "deep/down/my-law").code == 0
    run = ["--task", "deep/down/my-law", "--budget", "smoke", "--results", "made", "--quiet", "--json"]
    for model, worst in (("real-data", 0.05), ("uniform-noise", 0.05), ("memoriser", 0.2)):
        said = cli("run", *run, "--model", model)
        assert said.code == 0, said.err
        assert json.loads(said.out)[0]["result"]["metrics"]["distance"] < worst


@pytest.mark.parametrize("name", ["My Model", "../out", "a--b", "", "-a", "a_b", "x/y"])
def test_a_bad_name_is_refused(cli, tmp_path: Path, name: str):
    said = cli("new", "model", "--", name)
    assert said.code == 2 and "my-model" in said.err
    assert not [path for path in tmp_path.iterdir() if path.name != "home"]


def test_a_folder_that_is_there_is_left_alone(cli, tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("precious")
    said = cli("new", "model", "mine")
    assert said.code == 2 and "is there already" in said.err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes"]
