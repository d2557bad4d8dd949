"""The bundle that the tests of submitting begin with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bundling import RUN


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the first test that wanted a bundle made, for the others to copy."""
    return tmp_path_factory.mktemp("bundle") / "made"


@pytest.fixture
def bundle(cli, plugins: Path, tmp_path: Path, made_once: Path) -> Path:
    """A bundle of two runs of a new model on the toy task, beside its folder, its runs and its run store."""
    if made_once.exists():
        shutil.copytree(made_once, tmp_path, dirs_exist_ok=True)
    else:
        assert cli("new", "model", "mine").code == 0
        assert cli("run", *RUN, "--results", "made", "--quiet").code == 0
        said = cli("submit", "./mine", "--results", "made", "--quiet")
        assert said.code == 0, said.err
        assert "5 results" in said.out and "Submission: Mine" in said.out
        shutil.copytree(tmp_path, made_once)
    return tmp_path / "mine.zip"
