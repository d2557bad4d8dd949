"""Several workers at one run store, which leases share: every row finishes, none twice, all as in one go."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from ebbench.record import resultfiles
from ebbench.running import attempts
from ebbench.storage import alive, files, runstore
from processes import server

RUN = ("run", "--task", "dots", "--model", "blob", "--budget", "smoke", "--quiet")
SEEDS = [0, 1, 2, 3]


def work(home: str, plugins: str, results: str, node: str, seeds: list[int], pause: float) -> None:
    """A sweep's worker on a node: all seeds, one after the other."""
    os.environ |= {"EBBENCH_HOME": home, "EBBENCH_PATH": plugins, "EBBENCH_HEARTBEAT": "0.2"}
    os.environ["EBBENCH_LOCKS"] = "lease"
    # No node can see whether a process of another one lives.
    alive.machine = lambda: node  # type: ignore[assignment]
    from ebbench.data.store import Store
    from ebbench.running import engine, settings, spec
    from ebbench.running.request import Request

    torch.set_num_threads(1)
    request = Request(task="dots", model="blob", budget="smoke", set={"steps": 40, "pause": pause})
    made = settings.Settings(
        device=torch.device("cpu"),
        results=Path(results),
        store=Store(offline=True),
        checkpoint_seconds=1.0,
    )
    list(engine.run(spec.resolve(request), seeds, made))


@pytest.fixture
def start(tmp_path: Path, plugins: Path) -> Iterator[Callable[..., multiprocessing.process.BaseProcess]]:
    """Start a worker. Its model adds a line to a file when it has trained."""
    model = plugins / "blob" / "model.py"
    trained = f"open({str(tmp_path / 'trained')!r}, 'a')"
    code = model.read_text()
    end = f"        with {trained} as file:\n            file.write('once\\n')\n\n    def sample(self"
    model.write_text(code.replace("    def sample(self", end, 1))
    context = server()
    started = []

    def go(node: str, *, store: str = "shared", seeds: list[int] = SEEDS, pause: float = 0.0):
        folder = tmp_path / store
        words = (str(folder), str(plugins), str(folder / "results"), node, seeds, pause)
        process = context.Process(target=work, args=words)
        process.start()
        started.append(process)
        return process

    yield go
    for process in started:
        process.kill()
        process.join()


def metrics(folder: Path) -> dict[int, tuple[object, object]]:
    found = [resultfiles.read(path) for path in (folder / "results").rglob("*.json")]
    return {result.seed: (result.metrics, result.training.curves) for result in found}


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    assert true()


def without_seconds(found: dict[int, tuple[object, object]]) -> str:
    """Curves hold when each point was taken: all else has to be the same."""
    return json.dumps(
        {
            seed: [values, {k: v for k, v in vars(curves).items() if k != "seconds"}]
            for seed, (values, curves) in sorted(found.items())
        },
        default=str,
    )


@pytest.mark.medium
def test_two_sweeps_at_once_make_each_row_once_as_one_alone_does(tmp_path: Path, start):
    alone = start("alone", store="alone")
    alone.join(60)
    (tmp_path / "trained").unlink()
    workers = [start("node1"), start("node2")]
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in [alone, *workers]] == [0, 0, 0]
    assert without_seconds(metrics(tmp_path / "shared")) == without_seconds(metrics(tmp_path / "alone"))
    assert set(metrics(tmp_path / "shared")) == set(SEEDS)
    assert len((tmp_path / "trained").read_text().splitlines()) == len(SEEDS), "each training was made once"
    store = tmp_path / "shared"
    assert not list(store.rglob(".*.tmp")) and not list(store.glob("attempts/**/*.json"))


@pytest.mark.slow
def test_a_node_that_is_lost_in_the_middle_is_replaced_by_one_that_goes_on(tmp_path: Path, start):
    lost = start("node1", seeds=[0], pause=0.05)
    until(lambda: list(tmp_path.glob("shared/runs/*/checkpoint.json")))
    assert lost.pid is not None
    os.kill(lost.pid, signal.SIGKILL)
    other = start("node2", seeds=[0], pause=0.05)
    other.join(60)
    whole = start("alone", store="alone", seeds=[0], pause=0.05)
    whole.join(60)
    assert other.exitcode == whole.exitcode == 0
    assert without_seconds(metrics(tmp_path / "shared")) == without_seconds(metrics(tmp_path / "alone"))


@pytest.mark.slow
def test_nodes_that_are_lost_again_and_again(tmp_path: Path, start):
    """Two at a time, one of them killed every half second, eight times: the rows are those of one alone."""
    alone = start("alone", store="alone", pause=0.02)
    alone.join(100)
    workers = [start(f"node{number}", pause=0.02) for number in range(2)]
    for number in range(8):
        time.sleep(0.5)
        workers[0].kill()
        workers[0].join()
        workers = [workers[1], start(f"node{number + 2}", pause=0.02)]
    for worker in workers:
        worker.join(100)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert without_seconds(metrics(tmp_path / "shared")) == without_seconds(metrics(tmp_path / "alone"))


def test_the_files_that_another_one_is_writing_stay(tmp_path: Path, cli, plugins: Path, monkeypatch):
    """A run that waits for the lease removes nothing of the holder's; once it has it, what is left half."""
    monkeypatch.setenv("EBBENCH_LOCKS", "lease")
    monkeypatch.setenv("EBBENCH_HEARTBEAT", "0.2")
    said = cli(*RUN, "--results", "first")
    assert said.code == 0, said
    (place,) = (tmp_path / "home" / "runs").glob("*/")
    half = place / f".state.json.node7-1-{'0' * 8}.tmp"
    half.write_text("{")
    with runstore.locked(place, print):
        said = cli(*RUN, "--time-limit", "0.5s")
        assert said.code == 124 and half.exists()
    assert cli(*RUN).code == 0 and not half.exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("locks", ["flock", "lease"])
def test_a_full_disk_is_said_and_the_run_goes_on_when_there_is_room(
    tmp_path: Path, cli, plugins: Path, small_disk: Path, monkeypatch, locks: str
):
    """A real one: the run fills it at its first checkpoints, and what is on it is whole."""
    assert cli(*RUN, "--results", "whole").code == 0
    monkeypatch.setenv("EBBENCH_LOCKS", locks)
    monkeypatch.setenv("EBBENCH_HOME", str(small_disk))
    # So little room that the lock and the key may be made, and the state may not.
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 180_000)
    said = cli(*RUN)
    assert said.code == 2 and "No space left" in said.err and "free some" in said.err, said
    assert "Traceback" not in said.err
    assert not list(small_disk.rglob("*.tmp")) and not list((tmp_path / "results").rglob("*.json"))
    for path in small_disk.rglob("*.json"):
        json.loads(path.read_text())
    filler.unlink()
    assert cli(*RUN).code == 0
    one, other = ([resultfiles.read(p) for p in (tmp_path / f).rglob("*.json")] for f in ("whole", "results"))
    assert one[0].metrics == other[0].metrics and len(other) == 1


def test_a_disk_that_refuses_to_note_how_far_a_run_is_stops_no_run(cli, plugins: Path, monkeypatch):
    real = files.write_atomically

    def full(path: Path, content: bytes) -> None:
        if "attempts" in path.parts:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, content)

    monkeypatch.setattr(attempts, "write_atomically", full)
    assert cli(*RUN).code == 0
