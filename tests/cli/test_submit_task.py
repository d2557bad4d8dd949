"""A task of the author's own in a bundle: it travels as text, and nobody runs it unless told to."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import toys
from ebbench.plugins import loader
from ebbench.record import resultfiles

pytestmark = pytest.mark.usefixtures("maintainer")

# It says where it was run.
MARK = """
import os
from pathlib import Path

if mark := os.environ.get("MARK"):
    Path(mark).touch()
"""
RUN = ["--model", "./mine", "--budget", "smoke", "--results", "made", "--quiet"]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the first test that wanted a bundle made, for the others to copy."""
    return tmp_path_factory.mktemp("own") / "made"


@pytest.fixture
def bundle(cli, tmp_path: Path, made_once: Path) -> Path:
    """A bundle of two runs on a task of one's own; its folder, "spots", is away."""
    if made_once.exists():
        shutil.copytree(made_once, tmp_path, dirs_exist_ok=True)
        return tmp_path / "mine.zip"
    toys.write_task(tmp_path, toys.TASK + MARK, "spots")
    assert cli("new", "model", "mine").code == 0
    assert cli("run", "--task", "./spots", *RUN, "--seeds", "0-1").code == 0
    said = cli("submit", "./mine", "--results", "made", "--quiet")
    assert said.code == 0, said.err
    assert "2 taken as they were scored" in said.out and "includes task 'spots'" in said.out
    (tmp_path / "spots").rename(tmp_path / "away")
    shutil.copytree(tmp_path, made_once)
    return tmp_path / "mine.zip"


def rewritten(bundle: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """The bundle with its entries changed, and a manifest that fits."""
    with zipfile.ZipFile(bundle) as packed:
        entries = {name: packed.read(name) for name in packed.namelist() if name != "manifest.json"}
    change(entries)
    files = {name: hashlib.sha256(content).hexdigest() for name, content in entries.items()}
    other = bundle.with_name("other.zip")
    with zipfile.ZipFile(other, "w") as packed:
        for name, content in entries.items():
            packed.writestr(name, content)
        packed.writestr("manifest.json", json.dumps({"format": 1, "files": files}))
    return other


def on_board(folder: Path) -> list[tuple[str, str, bool]]:
    """Each result's task and tier, and whether it is known to be on a task that was submitted."""
    made, problems = resultfiles.load_all(folder)
    assert problems == []
    return [(r.task.name, r.confirmed, "own_task" in r.verification.details) for r in made]


@pytest.mark.medium
def test_the_task_of_a_stranger_runs_only_where_it_is_trusted(
    cli, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MARK", str(tmp_path / "ran"))
    with zipfile.ZipFile(bundle) as packed:
        for name in ("task.py", "card.toml", "README.md"):
            assert packed.read(f"task/{name}") == (tmp_path / "away" / name).read_bytes()
        assert "task/task.py" in json.loads(packed.read("manifest.json"))["files"]
    said = cli("verify", bundle, "--results", "board")
    assert said.code == 2 and "--trust-task" in said.err and "--claimed" in said.err
    assert not (tmp_path / "board").exists()

    said = cli("verify", bundle, "--results", "board", "--claimed")
    assert said.code == 0, said.err
    assert on_board(tmp_path / "board") == 2 * [("spots", "claimed", True)]
    assert cli("site", "build", "--results", "board", "--out", "site").code == 0
    assert not (tmp_path / "ran").exists(), "none of its code has run"

    said = cli("verify", bundle, "--results", "other", "--trust-task")
    assert said.code == 0, said.err
    assert on_board(tmp_path / "other") == 2 * [("spots", "recomputed", True)]
    assert (tmp_path / "ran").exists()
    assert "spots" not in loader.names("task"), "only while it verifies"
    # What nobody may rank need not be trained here.
    said = cli("verify", bundle, "--results", "other", "--trust-task", "--rerun", "--unboxed")
    assert said.code == 2 and "does not repeat" in said.err


@pytest.mark.medium
@pytest.mark.parametrize("how", ["--claimed", "--trust-task"])
def test_its_rows_stand_on_the_page_of_the_submission_alone(cli, bundle: Path, tmp_path: Path, how: str):
    assert cli("verify", bundle, "--results", "board", how).code == 0
    assert cli("site", "build", "--results", "board", "--out", "site").code == 0
    site = tmp_path / "site"
    page = (site / "methods" / "mine.html").read_text()
    assert "spots, a task of its author&#39;s own" in page or "spots, a task of its author's own" in page
    assert 'href="mine-task-task.py.txt"' in page
    assert (site / "methods" / "mine-task-task.py.txt").read_bytes() == (
        tmp_path / "away" / "task.py"
    ).read_bytes()
    assert "ebbench run --task ./spots --model ./mine" in page
    assert ("<td>claimed</td>" if how == "--claimed" else "<td>recomputed</td>") in page
    assert not (site / "tasks" / "spots.html").exists()
    assert "spots" not in (site / "index.html").read_text()
    for result in (site / "results" / "spots" / "mine").glob("*.html"):
        assert "tasks/spots.html" not in result.read_text()


@pytest.mark.medium
def test_its_rows_are_never_mixed_with_those_of_a_task_that_is_here(
    cli, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert cli("verify", bundle, "--results", "board", "--trust-task").code == 0
    # Later the board gets a task of that name.
    toys.write_task(tmp_path / "plugins", toys.TASK.replace("256", "255"), "spots")
    toys.write_model(tmp_path / "plugins")
    monkeypatch.setenv("EBBENCH_PATH", str(tmp_path / "plugins"))
    run = ["run", "--task", "spots", "--model", "blob", "--budget", "smoke", "--results", "board", "--quiet"]
    assert cli(*run).code == 0
    rows = json.loads(cli("table", "--task", "spots", "--results", "board", "--format", "json").out)
    assert [row["model"] for row in rows] == ["blob"]
    assert cli("site", "build", "--results", "board", "--out", "site").code == 0
    assert "methods/mine.html" not in (tmp_path / "site" / "tasks" / "spots.html").read_text()
    assert "spots, a task of its author" in (tmp_path / "site" / "methods" / "mine.html").read_text()
    # And then the bundle may not come again.
    said = cli("verify", bundle, "--results", "third", "--trust-task")
    assert said.code == 2 and "with other code" in said.err


def test_a_task_that_is_here_already_needs_no_trust(
    cli, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "away").rename(tmp_path / "plugins" / "whatever")
    monkeypatch.setenv("EBBENCH_PATH", str(tmp_path / "plugins"))
    said = cli("verify", bundle, "--results", "board")
    assert said.code == 0, said.err
    assert on_board(tmp_path / "board") == 2 * [("spots", "recomputed", False)]


def card(name: str, title: str) -> Callable[[dict[str, bytes]], None]:
    return lambda entries: entries.update({"task/card.toml": f'name = "{name}"\ntitle = "{title}"'.encode()})


@pytest.mark.parametrize("how", ["--trust-task", "--claimed"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (card("toy2d", "Other"), "toy2d"),
        (card("t0y2d", "Other"), "looks like 'toy2d'"),
        (card("kdd-99", "Other"), "looks like 'kdd99'"),
        (card("spots", "STACKED mnist"), "looks like"),
        (card("other", "Other"), "no result uses"),
        (card("../evil", "Other"), "wrong at 'name'"),
        (lambda e: e.update({"task/task.py": e["task/task.py"] + b"\nMORE = 1\n"}), "task.code_hash"),
        (lambda e: e.update({"task/data.bin": bytes(range(256))}), "is not text"),
        (lambda e: e.update({"task/long.txt": b"x" * (2 << 20)}), "bytes"),
        (lambda e: e.update({"task/../task.py": b""}), "an entry called"),
        (lambda e: e.pop("task/task.py"), "is incomplete"),
        (lambda e: e.pop("task/card.toml"), "is incomplete"),
    ],
)
def test_a_task_that_is_not_what_it_says_is_refused(
    cli, bundle: Path, tmp_path: Path, change: Callable, said: str, how: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MARK", str(tmp_path / "ran"))
    end = cli("verify", rewritten(bundle, change), "--results", "board", how)
    assert end.code == 2 and said in end.err + end.out, end.err
    assert not (tmp_path / "board").exists() and not (tmp_path / "ran").exists()


def test_two_tasks_of_one_name_are_not_on_one_board(cli, bundle: Path, tmp_path: Path):
    assert cli("verify", bundle, "--results", "board", "--trust-task").code == 0
    toys.write_task(tmp_path, toys.TASK.replace("- 0.5", "- 0.4"), "spots")
    shutil.rmtree(tmp_path / "made")
    assert cli("run", "--task", "./spots", *RUN, "--force").code == 0
    assert cli("submit", "./mine", "--results", "made", "--out", "second.zip").code == 0
    for how in ("--trust-task", "--claimed"):
        said = cli("verify", "second.zip", "--results", "board", "--same-author", how)
        assert said.code == 2 and "the code is not the same" in said.out + said.err


def test_which_task_goes_along_is_clear(cli, bundle: Path, tmp_path: Path):
    submit = ["submit", "./mine", "--results", "made", "--quiet"]
    said = cli(*submit)
    assert said.code == 2 and "unknown task 'spots'" in said.err, said.err
    said = cli(*submit, "--task", "toy2d")
    assert said.code == 2 and "every board has" in said.err
    assert cli(*submit, "--task", "./away").code == 0
    toys.write_task(tmp_path, name="dots")
    said = cli(*submit, "--task", "./dots")
    assert said.code == 2 and "none of the runs" in said.err
    assert cli("run", "--task", "./dots", *RUN).code == 0
    said = cli(*submit, "--task", "./away")
    assert said.code == 2 and "2 tasks of your own" in said.err
    runs = [one.run_id for one in resultfiles.load_all(tmp_path / "made")[0] if one.task.name == "dots"]
    assert cli(*submit, "--runs", runs[0]).code == 0
    (tmp_path / "dots" / "weights.bin").write_bytes(bytes(range(256)))
    said = cli(*submit, "--runs", runs[0])
    assert said.code == 2 and "weights.bin" in said.err
