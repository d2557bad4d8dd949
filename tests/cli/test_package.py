"""The wheel, and the commands of the documents, as somebody else would use them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from conftest import ROOT


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the tracked and new files."""
    copy = tmp_path_factory.mktemp("source")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in listed:
        if not name.startswith("results/") and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            out,
            copy,
        ],
        check=True,
        capture_output=True,
        timeout=240,
    )
    (path,) = out.glob("*.whl")
    return path


@pytest.mark.medium
def test_the_wheel_holds_the_plug_ins(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in (
        "ebbench/py.typed",
        "ebbench/record/result.schema.json",
        "ebbench/baselines/meg/model.py",
        "ebbench/baselines/meg/card.toml",
        "ebbench/tasks/stackedmnist/task.py",
        "ebbench/tasks/stackedmnist/weights/published.safetensors",
        "ebbench/metrics/digits/weights/mnist.safetensors",
    ):
        assert name in names
    assert not [name for name in names if "__pycache__" in name]


@pytest.mark.medium
def test_the_wheel_works_outside_the_checkout(wheel: Path, tmp_path: Path):
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    done = subprocess.run(
        [sys.executable, "-m", "ebbench.cli.main", "list"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "stackedmnist" in done.stdout and "meg" in done.stdout
    where = subprocess.run(
        [sys.executable, "-c", "import ebbench.baselines as b; print(list(b.__path__))"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(site) in where.stdout


@pytest.mark.medium
def test_the_commands_of_contributing_work_as_pasted(tmp_path: Path):
    text = (ROOT / "CONTRIBUTING.md").read_text()
    (_, script) = re.findall(r"```\n(.*?)```", text, re.DOTALL)
    tools = str(Path(sys.executable).parent)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tested, _, table = done.stdout.partition("every check passed")
    assert "FAIL" not in tested
    # The row of the table, not the lines of the run before it.
    assert [line for line in table.splitlines() if "│ gaussian-pixels" in line and "generator" in line]


def test_the_readmes_commands_exist():
    from ebbench.cli.main import app

    verbs = {command.name for command in app.registered_commands} | {g.name for g in app.registered_groups}
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for verb in re.findall(r"^ebbench (\w+)|`ebbench (\w+)", page.read_text(), re.MULTILINE):
            assert (verb[0] or verb[1]) in verbs, f"{page.name}: {verb}"
