"""`ebbench sweep`: what is done is skipped, what was cut goes on, a failure does not end the rest."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import torch

import toys
from ebbench.cli import main
from ebbench.data.store import Store
from ebbench.record import resultfiles, schema
from ebbench.sweeps import graph, plan, sweep, work
from ebbench.sweeps.executors import Handle, Resources
from ebbench.sweeps.summary import Summary
from ebbench.threads import COUNT

PLAN = """
[[runs]]
tasks = ["dots"]
models = ["blob", "blob:still"]
budgets = ["smoke"]
samplers = ["generator", "shifted"]
seeds = "0-1"
"""
ONE = '[[runs]]\ntasks = ["dots"]\nmodels = ["blob"]\nbudgets = ["smoke"]\nseeds = "0"\n'


class Over:
    """A process that has ended."""

    def __init__(self, code: int) -> None:
        self._code = code

    def poll(self) -> int | None:
        return self._code

    def cancel(self) -> None:
        """Nothing runs."""

    def end(self) -> None:
        """Nothing runs."""


class Here:
    """An executor that runs each command in this process, which needs no second to start."""

    preempts = False

    def __init__(self) -> None:
        self.environments: list[Mapping[str, str]] = []
        self.commands: list[str] = []

    def submit(
        self, argv: Sequence[str], environment: Mapping[str, str], resources: Resources, log: Path
    ) -> Handle:
        self.environments.append(environment)
        self.commands.append(" ".join(argv))
        before, sys.argv = sys.argv, ["ebbench", *argv[4:]]
        log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(log, "w") as said, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                main.main()
        except SystemExit as end:
            return Over(0 if end.code is None else int(end.code))
        finally:
            sys.argv = before
        raise AssertionError("the command line ends by SystemExit")

    def wait(self, handles: Sequence[Handle]) -> None:
        """All have ended."""

    def together(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    executor, threads = Here(), torch.get_num_threads()
    monkeypatch.setattr(sweep, "LocalProcesses", lambda *_: executor)
    # A run settles its threads for the whole process.
    for name in COUNT:
        monkeypatch.setenv(name, str(threads))
    yield executor
    torch.set_num_threads(threads)


def results_of(folder: Path) -> list[schema.Result]:
    return [resultfiles.read(path) for path in sorted(folder.rglob("*.json"))]


@pytest.mark.medium
def test_a_real_sweep_is_stopped_and_goes_on(cli, command, plugins: Path, tmp_path: Path, request):
    """Two side by side, of a model that prints, in a folder with a file that has the name of a module."""
    model = plugins / "blob" / "model.py"
    chatty = "print('epoch 1'); open(f'begun-{os.getpid()}', 'w').close(); run.log("
    slow = "time.sleep(0.1 * os.path.exists('slow'))"
    text = model.read_text().replace("time.sleep(self.config.pause)", slow).replace("run.log(", chatty)
    model.write_text(f"import os\n{text}")
    (tmp_path / "slow").touch()
    (tmp_path / "random.py").write_text("raise RuntimeError('the wrong module')\n")
    (tmp_path / "plan.toml").write_text(ONE.replace('"0"', '"0-1"'))
    process = command("sweep", "plan.toml", "--workers", "2", "--threads", "2", real=True)
    end = time.monotonic() + 100
    while len(list(tmp_path.glob("begun-*"))) < 2 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 143, (out, err)
    assert "2 left" in out and "goes on" in out
    logs = sorted((tmp_path / "home" / "logs" / "dots" / "blob").glob("*.log"))
    assert len(logs) == 2 and all("training saved at step" in log.read_text() for log in logs)

    (tmp_path / "slow").unlink()
    request.getfixturevalue("quick_runs")
    ran = cli("sweep", "plan.toml", "--workers", "2", "--threads", "2")
    assert ran.code == 0 and "2 done, 0 done before, 0 failed, 0 left" in ran.out, ran
    assert "epoch 1" not in ran.out
    assert all("going on from the checkpoint" in log.read_text() for log in logs)
    assert all("epoch 1" in log.read_text() for log in logs)
    # Two workers share two threads.
    assert {r.provenance.cpu.threads for r in results_of(tmp_path / "results")} == {1}
    ran = cli("sweep", "plan.toml")
    assert ran.code == 0 and "0 done, 2 done before, 0 failed" in ran.out


def test_the_product_is_run_once(cli, plugins: Path, tmp_path: Path, here: Here):
    (tmp_path / "plan.toml").write_text(PLAN.replace("0-1", "1") + PLAN.replace("0-1", "1"))
    first = cli("sweep", "plan.toml")
    assert first.code == 0 and "4 done, 0 done before, 0 failed, 0 left" in first.out, first
    assert {(r.model.variant, r.sampler.name, r.seed) for r in results_of(tmp_path / "results")} == {
        (variant, sampler, 1) for variant in ("", "still") for sampler in ("generator", "shifted")
    }
    again = cli("sweep", "plan.toml")
    assert again.code == 0 and "0 done, 4 done before, 0 failed" in again.out


def test_a_failure_is_named_and_the_rest_goes_on(cli, plugins: Path, tmp_path: Path, here: Here):
    toys.write_one_method(plugins, "def sample(self, n):\n    return 1 / 0\n")
    (tmp_path / "plan.toml").write_text(ONE.replace('["blob"]', '["odd", "blob"]'))
    ran = cli("sweep", "plan.toml")
    assert ran.code == 1
    assert "1 done, 0 done before, 1 failed, 0 left" in ran.out
    assert "failed: dots odd smoke seed 0" in ran.out and "ZeroDivisionError" in ran.out
    assert ".log" in ran.out
    assert [r.model.name for r in results_of(tmp_path / "results")] == ["blob"]


@pytest.mark.parametrize("damage", ["empty", "half", "another", "folder"])
def test_a_damaged_result_is_not_done_and_is_kept(
    cli, plugins: Path, tmp_path: Path, here: Here, damage: str
):
    (tmp_path / "plan.toml").write_text(ONE.replace('"0"', '"0-1"'))
    assert cli("sweep", "plan.toml").code == 0
    first, second = sorted((tmp_path / "results").rglob("*.json"))
    if damage == "folder":
        first.unlink()
        first.mkdir()
    else:
        whole = first.read_text()
        first.write_text({"empty": "", "half": whole[:99], "another": second.read_text()}[damage])
    left = None if damage == "folder" else first.read_text()
    ran = cli("sweep", "plan.toml")
    assert ran.code == 1 and "0 done, 1 done before, 1 failed, 0 left" in ran.out, ran
    assert first.name in ran.out
    if damage != "folder":
        assert "--force" in ran.out and first.read_text() == left


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def data_key(self):", "def data_key(self):\n        raise RuntimeError('no key today')"),
        ("super().__init__(options, protocol, store)", "raise RuntimeError('no task today')"),
    ],
)
def test_a_task_that_raises_fails_its_own_runs(
    cli, plugins: Path, tmp_path: Path, here: Here, code: str, said: str
):
    toys.write_task(plugins, toys.TASK.replace(code, said), "broken")
    (tmp_path / "plan.toml").write_text(ONE.replace('["dots"]', '["broken", "dots"]'))
    ran = cli("sweep", "plan.toml")
    assert ran.code == 1 and "1 done, 0 done before, 1 failed, 0 left" in ran.out, ran
    assert "failed: broken blob smoke seed 0" in ran.out and "today" in ran.out and "task.py:" in ran.out


def test_a_task_whose_data_are_drawn_by_the_seed_is_done(cli, tmp_path: Path, here: Here):
    (tmp_path / "plan.toml").write_text(
        '[[runs]]\ntasks = ["toy2d"]\nmodels = ["uniform-noise"]\nbudgets = ["smoke"]\nseeds = "3"\n'
        "set = { law = '8gaussians' }\n"
    )
    for said in ("1 done, 0 done before", "0 done, 1 done before"):
        ran = cli("sweep", "plan.toml")
        assert ran.code == 0 and said in ran.out, ran


def test_a_run_that_ends_without_its_result_has_failed(cli, plugins: Path, tmp_path: Path, monkeypatch):
    class Nothing(Here):
        def submit(
            self, argv: Sequence[str], environment: Mapping[str, str], resources: Resources, log: Path
        ) -> Handle:
            return Over(0)

    monkeypatch.setattr(sweep, "LocalProcesses", lambda *_: Nothing())
    (tmp_path / "plan.toml").write_text(ONE)
    ran = cli("sweep", "plan.toml")
    assert ran.code == 1 and "there is no result" in ran.out and "dots blob smoke seed 0" in ran.out, ran


def test_what_a_plug_in_sets_when_it_is_loaded_is_not_inherited(
    cli, plugins: Path, tmp_path: Path, here: Here, monkeypatch
):
    monkeypatch.setenv("SHADE", "light")
    model = plugins / "blob" / "model.py"
    model.write_text("import os\nos.environ['SHADE'] = 'dark'\n" + model.read_text())
    (tmp_path / "plan.toml").write_text(ONE)
    assert cli("sweep", "plan.toml", "--workers", "2", "--threads", "6").code == 0
    assert os.environ["SHADE"] == "dark"
    (environment,) = here.environments
    assert environment["SHADE"] == "light" and environment["OMP_NUM_THREADS"] == "3"
    assert "--threads 3" in here.commands[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[runs]", "cannot be read"),
        ("x = " + "[" * 10_000, "cannot be read"),
        ("x = " + "9" * 10_000, "cannot be read"),
        ("", "holds no runs"),
        ("x = 1", "unknown key 'x'"),
        ('task = "dots"\n[[methods]]\nmodel = "blob"', "`ebbench grid plan.toml` runs it"),
        ('[[runs]]\ntasks = ["dots"]', "'models'"),
        ('[[runs]]\ntaks = ["dots"]\nmodels = ["blob"]', "'taks'"),
        ('[[runs]]\ntasks = ["dots"]\nmodels = ["blob"]\nworkers = 2', "'workers'"),
        ('[[runs]]\ntasks = ["dots"]\nmodels = ["blop"]', "did you mean 'blob'?"),
        ('[[runs]]\ntasks = ["dots"]\nmodels = ["blob"]\nbudgets = ["paper"]', "no budget 'paper'"),
        (f"{ONE}set = {{ step = 1 }}", "did you mean 'steps'?"),
        (f'{ONE}set = {{ lr = "a\\nb" }}', "U+000A"),
        (f"{ONE}set = {{ lr = 1e305 }}", "number"),
        (f'{ONE}set = {{ "shifted.by" = 0.1, shifted.by = 0.2 }}', "set twice"),
        (ONE.replace('"0"', '"x"'), "cannot read the seeds"),
        (ONE.replace('"0"', '"0,4294967296"'), "4294967295"),
    ],
)
def test_a_mistake_in_the_plan_shows_before_anything_runs(cli, plugins, tmp_path, text, said):
    (tmp_path / "plan.toml").write_text(text)
    ran = cli("sweep", "plan.toml")
    assert ran.code == 2 and said in ran.err and "plan.toml" in ran.err and "where: --set" not in ran.err, ran
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("limit", ["soon", "0s", "99999999h", "nan", "1e9"])
def test_a_time_limit_that_cannot_be_shows_before_anything_runs(cli, plugins, tmp_path, limit):
    (tmp_path / "plan.toml").write_text(ONE)
    ran = cli("sweep", "plan.toml", "--time-limit", limit)
    assert ran.code == 2 and "9m" in ran.err and not (tmp_path / "results").exists(), ran


def test_a_place_that_cannot_be_written_shows_before_anything_runs(cli, plugins, tmp_path, here: Here):
    (tmp_path / "plan.toml").write_text(ONE)
    (tmp_path / "results").write_text("a file")
    ran = cli("sweep", "plan.toml")
    assert ran.code == 2 and "results" in ran.err and not here.environments, ran


@pytest.mark.parametrize("name", ["nowhere.toml", ".", "a\0b"])
def test_a_plan_that_is_not_there(cli, tmp_path, name):
    assert cli("sweep", name).code == 2


def test_a_plan_may_begin_with_a_byte_order_mark_and_a_key_may_be_a_table(plugins: Path, tmp_path: Path):
    text = f"\ufeff{ONE}samplers = ['shifted']\nset = {{ shifted.by = 0.25, ' lr ' = 0.5 }}\n"
    (tmp_path / "plan.toml").write_text(text, encoding="utf-8")
    (job,) = plan.read_plan(tmp_path / "plan.toml")
    assert job.request.set == {"shifted.by": 0.25, "lr": 0.5}


def test_the_first_seed_of_a_plan_is_run_before_the_second(plugins: Path, tmp_path: Path):
    (tmp_path / "plan.toml").write_text(PLAN.replace('samplers = ["generator", "shifted"]\n', "") + PLAN)
    jobs = [
        (job.seed, job.request.model, job.request.sampler) for job in plan.read_plan(tmp_path / "plan.toml")
    ]
    half = [(0, "blob", ""), (0, "blob:still", "")]
    half += [(0, model, how) for model in ("blob", "blob:still") for how in ("generator", "shifted")]
    assert jobs == half + [(1, model, how) for _, model, how in half]


def graph_of(text: str, tmp_path: Path, workers: int) -> list[work.Work]:
    (tmp_path / "plan.toml").write_text(text)
    jobs, summary = plan.read_plan(tmp_path / "plan.toml"), Summary()
    works = graph.find_work(
        jobs, tmp_path / "results", Store(), ["--device", "cpu"], summary, workers=workers
    )
    assert not summary.failed and len({one.log for one in works}) == len(works)
    return works


BUILT = (
    '[[runs]]\ntasks = ["toy2d"]\nmodels = ["ddls"]\nbudgets = ["smoke"]\nseeds = "0-1"\n'
    'samplers = ["", "isir"]\nset = { base = "wgan-gp" }\n'
    '[[runs]]\ntasks = ["toy2d"]\nmodels = ["wgan-gp"]\nbudgets = ["smoke"]\nseeds = "0"\n'
    '[[runs]]\ntasks = ["toy2d"]\nmodels = ["gan"]\nbudgets = ["smoke"]\nseeds = "0"\n'
)


def test_a_training_that_several_runs_need_is_work_of_its_own(tmp_path: Path):
    works = graph_of(BUILT, tmp_path, workers=2)
    trainings = [one for one in works if one.training]
    assert [one.label for one in trainings] == [
        "training of toy2d wgan-gp smoke seed 0",
        "training of toy2d ddls smoke seed 0",
        "training of toy2d wgan-gp smoke seed 1",
        "training of toy2d ddls smoke seed 1",
    ]
    base, own = trainings[:2]
    assert list(base.argv[-2:]) == ["--until", "base"] and list(own.argv[-2:]) == ["--until", "training"]
    assert not base.needs and own.needs == (base,)
    needs = {one.label: one.needs for one in works if not one.training and "seed 0" in one.label}
    assert list(needs.values()) == [(own,), (own,), (base,), ()]
    assert all(one.argv[one.argv.index("--device") + 1] == "cpu" for one in works)


def test_one_worker_starts_no_process_for_a_training_alone(tmp_path: Path):
    works = graph_of(BUILT, tmp_path, workers=1)
    assert len(works) == 6 and not any(one.training or one.needs for one in works)


def test_the_parts_of_a_run_are_trained_side_by_side_where_workers_are_free(tmp_path: Path):
    text = '[[runs]]\ntasks = ["gaussian"]\nmodels = ["vae"]\nbudgets = ["smoke"]\nseeds = "0"\n'
    works = graph_of(text, tmp_path, workers=2)
    first, second = (one for one in works if one.training)
    assert works[-1].needs == (first, second)
    named = [
        [w for a, w in zip(one.argv, one.argv[1:], strict=False) if a == "--part"] for one in (first, second)
    ]
    assert named[0] and named[1] and not set(named[0]) & set(named[1])
    # As many runs as workers: each makes its own parts.
    works = graph_of(text.replace('"0"', '"0-1"'), tmp_path, workers=2)
    assert len(works) == 2


def test_the_work_of_a_graph_gives_what_a_serial_sweep_gives(cli, plugins: Path, tmp_path: Path, here: Here):
    (tmp_path / "plan.toml").write_text(PLAN.replace("0-1", "0"))
    assert cli("sweep", "plan.toml", "--results", "serial").code == 0
    shutil.rmtree(tmp_path / "home")
    ran = cli("sweep", "plan.toml", "--workers", "2", "--threads", "2")
    assert ran.code == 0 and "4 done, 0 done before, 0 failed, 0 left" in ran.out, ran
    assert "training of dots blob smoke seed 0" in ran.out
    assert sum("--until training" in one for one in here.commands) == 2
    one, other = results_of(tmp_path / "serial"), results_of(tmp_path / "results")
    assert [(r.run_id, r.metrics) for r in one] == [(r.run_id, r.metrics) for r in other]


def test_the_committed_plans_can_be_read(mnist):
    plans = sorted((Path(__file__).parents[2] / "results" / "plans").glob("*.toml"))
    assert plans
    for path in plans:
        assert plan.read_plan(path)


def test_run_makes_seeds_side_by_side(cli, here: Here, plugins: Path, tmp_path: Path):
    words = ("run", "--task", "dots", "--model", "blob", "--budget", "smoke", "--seeds", "0-1")
    serial = cli(*words, "--results", "serial")
    assert serial.code == 0 and not here.commands
    ran = cli(*words, "--seeds", "2", "--workers", "2", "--threads", "2")
    assert ran.code == 0, ran.err
    assert [line for line in ran.out.splitlines() if line.startswith("seed")] == [
        f"seed {seed}: done  [source=dots]" for seed in range(3)
    ]
    assert "done: dots blob smoke seed 2" in ran.err
    runs = [one for one in here.commands if "--seeds" in one]
    assert len(runs) == 3 and all("--threads 1" in one for one in runs)
    sides = [results_of(tmp_path / name)[:2] for name in ("serial", "results")]
    assert [one.metrics for one in sides[0]] == [one.metrics for one in sides[1]]
    again = cli(*words, "--workers", "2", "--quiet")
    assert again.code == 0 and again.out.count("done before") == 2 and not again.err
    refused = cli(*words, "--workers", "2", "--force")
    assert refused.code == 2 and "--force does not work with several workers" in refused.err


def test_run_with_workers_says_which_seed_failed(cli, here: Here, plugins: Path):
    model = plugins / "blob" / "model.py"
    unlucky = "assert sys.argv[sys.argv.index('--seeds') + 1] != '1', 'no luck'; run.log("
    model.write_text(f"import sys\n{model.read_text()}".replace("run.log(", unlucky))
    words = ("run", "--task", "dots", "--model", "blob", "--budget", "smoke")
    ran = cli(*words, "--seeds", "0-2", "--workers", "2")
    assert ran.code == 1 and "2 done, 0 done before, 1 failed" in ran.out and "no luck" in ran.out
