"""kill -9 at random moments, of training and of scoring: the result is the same to the bit."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from ebbench.record import resultfiles
from ebbench.running.training import CHECKPOINT_SECONDS
from ebbench.storage import state
from processes import server

# What a kill waits for: nothing, so that it falls anywhere from the very start on; or that the run trains or
# samples.
START, TRAINING, SAMPLING = None, "training", "sampling"
SOME = [START, TRAINING, TRAINING, SAMPLING]
TWENTY = 3 * [START] + 12 * [TRAINING] + 5 * [SAMPLING]


def work(home: str, plugins: str, results: str, checkpoint_seconds: float) -> None:
    """One attempt at the run, in a process of its own."""
    os.environ["EBBENCH_HOME"], os.environ["EBBENCH_PATH"] = home, plugins
    from ebbench.data.store import Store
    from ebbench.running import engine, settings, spec
    from ebbench.running.request import Request

    torch.set_num_threads(1)
    request = Request(
        task="dots",
        model="blob",
        budget="smoke",
        sampler="shifted",
        set={"steps": 200, "pause": 0.005},
    )
    settings = settings.Settings(
        device=torch.device("cpu"),
        results=Path(results),
        store=Store(offline=True),
        checkpoint_seconds=checkpoint_seconds,
    )
    list(engine.run(spec.resolve(request), [5], settings))


@pytest.mark.medium
@pytest.mark.parametrize(
    ("kills", "checkpoint_seconds"),
    [
        (SOME, 0.05),
        pytest.param(TWENTY, 0.05, marks=pytest.mark.slow),
        # As in earnest: the first step, and then after a second and more. Most kills come before.
        pytest.param(TWENTY, CHECKPOINT_SECONDS, marks=pytest.mark.slow),
    ],
)
def test_killed_at_random_moments_the_result_is_the_same(
    tmp_path: Path, plugins: Path, kills: list[str | None], checkpoint_seconds: float
):
    # Both training and sampling say that they run; the sampling is slow enough to be hit.
    signs = {TRAINING: tmp_path / TRAINING, SAMPLING: tmp_path / SAMPLING}
    model = plugins / "blob" / "model.py"
    code = model.read_text().replace("run.log(", f"open({str(signs[TRAINING])!r}, 'w').close(); run.log(")
    slow = f"open({str(signs[SAMPLING])!r}, 'w').close(); time.sleep(0.1); return (self.sample"
    model.write_text(code.replace("return (self.sample", slow))
    # A server that has imported torch forks each attempt: they start in milliseconds.
    context = server()

    def attempt(name: str) -> multiprocessing.process.BaseProcess:
        folder = tmp_path / name
        process = context.Process(
            target=work, args=(str(folder), str(plugins), str(folder / "results"), checkpoint_seconds)
        )
        process.start()
        return process

    whole = attempt("whole")
    whole.join(120)
    assert whole.exitcode == 0

    rng = random.Random(0)
    hit = {TRAINING: 0, SAMPLING: 0}
    for moment in kills:
        for sign in signs.values():
            sign.unlink(missing_ok=True)
        process = attempt("parts")
        while moment is not None and not signs[moment].exists():
            assert process.exitcode is None, "the run was over before it could be killed"
            time.sleep(0.005)
        time.sleep(rng.uniform(0.0, 0.1))
        assert process.exitcode is None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        hit[TRAINING] += signs[TRAINING].exists() and not signs[SAMPLING].exists()
        hit[SAMPLING] += signs[SAMPLING].exists()
    # As a kill in the middle of writing the result would leave it.
    (one,) = (tmp_path / "whole").rglob("results/**/*.json")
    half = tmp_path / "parts" / one.relative_to(tmp_path / "whole")
    half.with_name(f".{half.name}.1.tmp").write_text("{")
    last = attempt("parts")
    last.join(120)
    assert last.exitcode == 0
    assert hit[TRAINING] >= kills.count(TRAINING) and hit[SAMPLING] >= kills.count(SAMPLING)

    (two,) = (tmp_path / "parts").rglob("results/**/*.json")
    a, b = resultfiles.read(one), resultfiles.read(two)
    assert a.metrics == b.metrics
    assert a.training.curves.series == b.training.curves.series
    assert (a.training.hash, a.training.steps) == (b.training.hash, b.training.steps)
    (state_a,) = (tmp_path / "whole").rglob("state.json")
    (state_b,) = (tmp_path / "parts").rglob("state.json")
    for name, value in state.load(state_a)["model"]["net"].items():
        assert torch.equal(value, state.load(state_b)["model"]["net"][name])
    assert not list((tmp_path / "parts").rglob("*.tmp"))
