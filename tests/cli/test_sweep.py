"""`ebbench sweep`: what is done is skipped, what was cut goes on, a failure does not end the rest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import toys
from ebbench.record import resultfiles, schema
from ebbench.running import words
from ebbench.running.request import Request
from ebbench.sweeps import plan, sweep

PLAN = """
[[runs]]
tasks = ["dots"]
models = ["blob", "blob:still"]
budgets = ["smoke"]
samplers = ["generator", "shifted"]
seeds = "0-1"
"""


def results_of(folder: Path) -> list[schema.Result]:
    return [resultfiles.read(path) for path in sorted(folder.rglob("*.json"))]


def test_the_product_is_run_once(cli, plugins: Path, tmp_path: Path):
    (tmp_path / "plan.toml").write_text(PLAN.replace("0-1", "1"))
    first = cli("sweep", "plan.toml", "--workers", "2", "--threads", "2")
    assert first.code == 0, first
    assert "4 done, 0 done before, 0 failed, 0 left" in first.out
    found = results_of(tmp_path / "results")
    assert {(r.model.variant, r.sampler.name, r.seed) for r in found} == {
        (variant, sampler, 1) for variant in ("", "still") for sampler in ("generator", "shifted")
    }
    # Two workers share two threads.
    assert {r.provenance.cpu.threads for r in found} == {1}
    again = cli("sweep", "plan.toml")
    assert again.code == 0 and "0 done, 4 done before, 0 failed" in again.out


def test_a_failure_is_named_and_the_rest_goes_on(cli, plugins: Path, tmp_path: Path):
    toys.write_model(
        plugins,
        "from ebbench import Model\nclass Odd(Model):\n    def sample(self, n):\n        return 1 / 0\n",
        "odd",
        'name = "odd"\ntitle = "Odd"\n',
    )
    (tmp_path / "plan.toml").write_text(
        '[[runs]]\ntasks = ["dots"]\nmodels = ["odd", "blob"]\nbudgets = ["smoke"]\nseeds = "0"\n'
    )
    ran = cli("sweep", "plan.toml")
    assert ran.code == 1
    assert "1 done, 0 done before, 1 failed, 0 left" in ran.out
    assert "failed: dots odd smoke seed 0" in ran.out and "ZeroDivisionError" in ran.out
    assert [r.model.name for r in results_of(tmp_path / "results")] == ["blob"]


def test_a_stopped_sweep_leaves_no_worker_and_goes_on(cli, command, plugins: Path, tmp_path: Path):
    model = plugins / "blob" / "model.py"
    model.write_text(model.read_text().replace("run.log(", "open('begun', 'w').close(); run.log("))
    (tmp_path / "plan.toml").write_text(
        '[[runs]]\ntasks = ["dots"]\nmodels = ["blob"]\nbudgets = ["smoke"]\nseeds = "0-1"\n'
        "set = { pause = 0.05 }\n"
    )
    process = command("sweep", "plan.toml")
    end = time.monotonic() + 60
    while not (tmp_path / "begun").exists() and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143, (out, err)
    assert "2 left" in out and "goes on" in out
    (log, *_) = (tmp_path / "home" / "logs").glob("*.log")
    assert "training saved at step" in log.read_text()
    ran = cli("sweep", "plan.toml")
    assert ran.code == 0 and "2 done" in ran.out
    assert "going on from the checkpoint" in log.read_text()
    assert os.path.exists(tmp_path / "results")


def test_a_time_limit_stops_at_a_checkpoint_and_the_next_call_goes_on(cli, plugins: Path, tmp_path: Path):
    (tmp_path / "plan.toml").write_text(
        '[[runs]]\ntasks = ["dots"]\nmodels = ["blob"]\nbudgets = ["smoke"]\nseeds = "0-1"\n'
        "set = { pause = 0.1 }\n"
    )
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import ebbench.runner"], check=True)
    # Time to start and to train a little; a run trains for six seconds.
    limit = f"{4 + 2 * (time.monotonic() - began):.0f}s"
    began, calls = time.monotonic(), 0
    while True:
        ran = cli("sweep", "plan.toml", "--time-limit", limit)
        calls += 1
        if ran.code == 0:
            break
        assert ran.code == 124 and "left" in ran.out and "goes on" in ran.out, (ran.out, ran.err)
        assert time.monotonic() - began < 200
    assert calls > 1 and len(results_of(tmp_path / "results")) == 2
    said = cli("sweep", "plan.toml", "--time-limit", "soon")
    assert said.code == 2 and "9m" in said.err


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("9m", 540), ("1.5h", 5400), ("30", 30), (" 2m ", 120)]
)
def test_durations(text: str, seconds: float):
    assert words.parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[runs]", "cannot be read"),
        ("", "holds no runs"),
        ("x = 1", "unknown key 'x'"),
        ('[[runs]]\ntasks = ["dots"]', "'models'"),
        ('[[runs]]\ntasks = ["dots"]\nmodels = ["blob"]\nworkers = 2', "'workers'"),
        ('[[runs]]\ntasks = ["dots"]\nmodels = ["blop"]', "did you mean 'blob'?"),
        ('[[runs]]\ntasks = ["dots"]\nmodels = ["blob"]\nbudgets = ["paper"]', "no budget 'paper'"),
        ('[[runs]]\ntasks = ["dots"]\nmodels = ["blob"]\nset = { step = 1 }', "did you mean 'steps'?"),
        ('[[runs]]\ntasks = ["dots"]\nmodels = ["blob"]\nseeds = "x"', "cannot read the seeds"),
    ],
)
def test_a_mistake_in_the_plan_shows_before_anything_runs(cli, plugins, tmp_path, text, said):
    (tmp_path / "plan.toml").write_text(text)
    ran = cli("sweep", "plan.toml")
    assert ran.code == 2 and said in ran.err, ran
    assert not (tmp_path / "results").exists()


def test_a_plan_that_is_not_there(cli, tmp_path):
    assert cli("sweep", "nowhere.toml").code == 2


def test_the_first_seed_of_a_plan_is_run_before_the_second(plugins: Path, tmp_path: Path):
    (tmp_path / "plan.toml").write_text(PLAN.replace('samplers = ["generator", "shifted"]\n', "") + PLAN)
    jobs = [
        (job.seed, job.request.model, job.request.sampler) for job in plan.read_plan(tmp_path / "plan.toml")
    ]
    half = [(0, "blob", ""), (0, "blob:still", "")]
    half += [(0, model, how) for model in ("blob", "blob:still") for how in ("generator", "shifted")]
    assert jobs == half + [(1, model, how) for _, model, how in half]


def test_a_long_label_has_a_log_of_its_own():
    def job(n: int) -> plan.Job:
        settings = {f"setting_{i}": 0.125 for i in range(n)}
        return plan.Job(Request(task="dots", model="blob", set=settings), 0)

    names = [sweep._log_name(job(n)) for n in (1, 40, 41)]
    assert len(set(names)) == 3 and all(len(name.encode()) <= 255 for name in names)


def test_what_builds_on_a_training_waits_in_its_worker(monkeypatch, tmp_path: Path):
    (tmp_path / "plan.toml").write_text(
        '[[runs]]\ntasks = ["toy2d"]\nmodels = ["wgan-gp"]\nbudgets = ["smoke"]\nseeds = "0"\n'
        '[[runs]]\ntasks = ["toy2d"]\nmodels = ["ddls"]\nbudgets = ["smoke"]\nseeds = "0"\n'
        'set = { base = "wgan-gp" }\n'
        '[[runs]]\ntasks = ["toy2d"]\nmodels = ["gan"]\nbudgets = ["smoke"]\nseeds = "0"\n'
    )
    begun: list[str] = []
    both = threading.Barrier(2)

    def run(job: plan.Job, *_: object) -> tuple[int, str]:
        begun.append(job.request.model)
        if job.request.model != "ddls":
            both.wait(timeout=30)
        return 0, ""

    monkeypatch.setattr(sweep, "_run", run)
    summary = sweep.sweep(
        plan.read_plan(tmp_path / "plan.toml"),
        workers=2,
        threads=2,
        device="cpu",
        data_dir=None,
        results=tmp_path / "results",
    )
    # Beside WGAN-GP the other worker trains a GAN, and does not wait for DDLS's base.
    assert set(begun[:2]) == {"wgan-gp", "gan"} and begun[2] == "ddls"
    assert len(summary.done) == 3


def test_the_committed_plans_can_be_read(mnist):
    from ebbench.sweeps.plan import read_plan

    plans = sorted((Path(__file__).parents[2] / "results" / "plans").glob("*.toml"))
    assert plans
    for path in plans:
        assert read_plan(path)
