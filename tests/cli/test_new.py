"""`ebbench new`: what it writes works as it stands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.mark.medium
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
    assert said.code == 2 and "exists already" in said.err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes"]


@pytest.mark.parametrize(("kind", "name"), [("model", "gan"), ("task", "gaussian"), ("model", "blob")])
def test_a_name_that_is_taken_is_refused(cli, plugins: Path, tmp_path: Path, kind: str, name: str):
    said = cli("new", kind, name)
    assert said.code == 2 and f"a {kind} '{name}' exists already" in said.err
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model", "a" * 300], "not a valid name for a plug-in"),
        (["model", "mine", "--out", "~nobody-here/x"], "home"),
        (["model", "mine", "--out", "a" * 300], "the folder cannot be read"),
        (["task", "mine", "--out", "a-file"], "cannot be"),
    ],
)
def test_a_place_that_cannot_be_is_refused(cli, tmp_path: Path, words: list[str], said: str):
    (tmp_path / "a-file").write_text("precious")
    found = cli("new", *words)
    assert found.code == 2 and said in found.err
    assert (tmp_path / "a-file").read_text() == "precious"


def test_a_link_that_leads_nowhere_is_left_alone(cli, tmp_path: Path):
    (tmp_path / "mine").symlink_to(tmp_path / "gone")
    said = cli("new", "model", "mine")
    assert said.code == 2 and "exists already" in said.err
    assert (tmp_path / "mine").is_symlink() and not (tmp_path / "gone").exists()
