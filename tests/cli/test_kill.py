"""kill -9 at random moments, of training and of scoring: the result is the same to the bit."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import torch

from ebbench.record import resultfiles
from ebbench.storage import state

KILLS = 20


def work(home: str, plugins: str, results: str) -> None:
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
        checkpoint_seconds=0.05,
    )
    list(engine.run(spec.resolve(request), [5], settings))


def test_killed_twenty_times_the_result_is_the_same(tmp_path: Path, plugins: Path):
    # Both training and sampling say that they run; the sampling is slow enough to be hit.
    training, sampling = tmp_path / "training", tmp_path / "sampling"
    model = plugins / "blob" / "model.py"
    code = model.read_text().replace("run.log(", f"open({str(training)!r}, 'w').close(); run.log(")
    slow = f"open({str(sampling)!r}, 'w').close(); time.sleep(0.1); return (self.sample"
    model.write_text(code.replace("return (self.sample", slow))
    # A server that has imported torch forks each attempt: they start in milliseconds.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ebbench.running.engine", "ebbench.running.curves"])

    def attempt(name: str) -> multiprocessing.process.BaseProcess:
        process = context.Process(
            target=work, args=(str(tmp_path / name), str(plugins), str(tmp_path / name / "results"))
        )
        process.start()
        return process

    whole = attempt("whole")
    whole.join(120)
    assert whole.exitcode == 0

    rng = random.Random(0)
    in_training = in_scoring = 0
    for kill in range(KILLS):
        for sign in (training, sampling):
            sign.unlink(missing_ok=True)
        process = attempt("parts")
        # Three fall anywhere from the very start on, then most into the training, the last into the scoring.
        sign = None if kill < 3 else training if kill < 15 else sampling
        while sign is not None and not sign.exists():
            assert process.exitcode is None, "the run was over before it could be killed"
            time.sleep(0.005)
        time.sleep(rng.uniform(0.0, 0.1))
        assert process.exitcode is None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        in_training += training.exists() and not sampling.exists()
        in_scoring += sampling.exists()
    # As a kill in the middle of writing the result would leave it.
    (one,) = (tmp_path / "whole").rglob("results/**/*.json")
    half = tmp_path / "parts" / one.relative_to(tmp_path / "whole")
    half.with_name(f".{half.name}.1.tmp").write_text("{")
    last = attempt("parts")
    last.join(120)
    assert last.exitcode == 0
    assert in_training >= 12 and in_scoring >= 5

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
