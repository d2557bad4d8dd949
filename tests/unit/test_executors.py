"""Every executor passes the same tests: this machine, submitit (and Slurm, where it runs), and Ray."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from ebbench.data.store import Store
from ebbench.errors import UsageError
from ebbench.record import resultfiles
from ebbench.sweeps import choose, graph, plan
from ebbench.sweeps.executors import VISIBLE, Executor, Handle, LocalProcesses, Resources
from ebbench.sweeps.outcome import Outcome, outcome_file, read_outcome
from ebbench.sweeps.profile import Profile, needed, read_profile
from ebbench.sweeps.summary import Summary
from ebbench.sweeps.sweep import Sweep
from ebbench.sweeps.work import Work

# A run that saves its state when it is asked to stop, and goes on from it.
SAVES = """
import os, signal, sys, time
def stop(number, frame):
    open('state', 'w').write('half')
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
print('begun', os.getpid(), flush=True)
if os.path.exists('state'):
    open('result', 'w').write(open('state').read() + ', whole')
    sys.exit(0)
open('begun', 'w').write(f'{os.getpid()} {os.getppid()}')
time.sleep(60)
"""


def _slurm_runs() -> bool:
    """Whether a Slurm runs here: scripts/ci_slurm.sh starts one."""
    if not shutil.which("squeue"):
        return False
    return subprocess.run(["squeue"], capture_output=True, timeout=10, check=False).returncode == 0


@pytest.fixture(params=["local", "submitit", "slurm", "ray"])
def executor(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch) -> Iterator[Executor]:
    kind = request.param
    if kind == "local":
        yield LocalProcesses()
    elif kind in ("submitit", "slurm"):
        pytest.importorskip("submitit", reason="needs ebbench[slurm]")
        if kind == "slurm" and not _slurm_runs():
            pytest.skip("needs a Slurm that runs: scripts/ci_slurm.sh starts one")
        from ebbench.sweeps.slurm import Slurm

        cluster = "local" if kind == "submitit" else "slurm"
        yield Slurm(Profile(seconds=600.0, notice=30), cluster=cluster, ask=1.0)
    else:
        pytest.importorskip("ray", reason="needs ebbench[ray]")
        yield request.getfixturevalue("ray_cluster")


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[Executor]:
    from ebbench.sweeps.raycluster import Ray

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = Ray(Profile(), 2, Resources())
        close, made.close = made.close, lambda: None
        yield made
    with warnings.catch_warnings():
        # Ray leaves the processes that it started to the collector, which warns of them.
        warnings.simplefilter("ignore")
        close()
        del close, made
        gc.collect()


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    # Of the engines, not ours.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def python(code: str, folder: Path) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", f"import os; os.chdir({str(folder)!r})\n{code}"]


def submitted(executor: Executor, code: str, folder: Path, **environment: str) -> Handle:
    with executor.together():
        handle = executor.submit(
            python(code, folder), os.environ | environment, Resources(), folder / "logs" / "a.log"
        )
    return handle


def ended(executor: Executor, handle: Handle, seconds: float = 90) -> int:
    until = time.monotonic() + seconds
    while handle.poll() is None and time.monotonic() < until:
        executor.wait([handle])
    code = handle.poll()
    assert code is not None, "it runs on"
    handle.end()
    return code


def appears(path: Path, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < until, f"there is no {path.name}"
        time.sleep(0.05)


def outcome_of(folder: Path) -> Outcome:
    found = read_outcome(outcome_file(folder / "logs" / "a.log"))
    assert found is not None
    return found


def test_a_run_that_ends_well(executor: Executor, tmp_path: Path):
    code = "import sys; print(sys.stdin.read() + 'said', os.environ['A'], os.environ['OMP_NUM_THREADS'])"
    handle = submitted(executor, code, tmp_path, A="here", OMP_NUM_THREADS="7")
    assert ended(executor, handle) == 0
    assert "said here 7" in (tmp_path / "logs" / "a.log").read_text()
    outcome = outcome_of(tmp_path)
    assert outcome.exit_code == 0 and outcome.host == os.uname().nodename and outcome.pid > 1
    assert 0 <= outcome.seconds < 60 and time.time() - 200 < outcome.began <= time.time()


def test_a_run_that_fails(executor: Executor, tmp_path: Path):
    assert ended(executor, submitted(executor, "import sys; sys.exit('error: no')", tmp_path)) == 1
    assert "error: no" in (tmp_path / "logs" / "a.log").read_text() and outcome_of(tmp_path).exit_code == 1


def test_a_run_that_is_cancelled_saves_its_state(executor: Executor, tmp_path: Path):
    handle = submitted(executor, SAVES, tmp_path)
    appears(tmp_path / "begun")
    assert handle.poll() is None and outcome_of(tmp_path).exit_code is None
    handle.cancel()
    assert ended(executor, handle) == 143
    assert (tmp_path / "state").read_text() == "half"
    # The next submission of the same run is another, and goes on.
    again = submitted(executor, SAVES, tmp_path)
    assert ended(executor, again) == 0 and (tmp_path / "result").read_text() == "half, whole"


def test_a_run_that_is_killed(executor: Executor, tmp_path: Path):
    handle = submitted(executor, SAVES, tmp_path)
    appears(tmp_path / "begun")
    os.kill(int((tmp_path / "begun").read_text().split()[0]), signal.SIGKILL)
    assert ended(executor, handle) == 137


def test_an_engines_process_that_is_killed_takes_the_run_with_it(executor: Executor, tmp_path: Path):
    if isinstance(executor, LocalProcesses):
        pytest.skip("there is none: the sweep itself starts the run")
    handle = submitted(executor, SAVES, tmp_path)
    appears(tmp_path / "begun")
    run, engine = map(int, (tmp_path / "begun").read_text().split())
    os.kill(engine, signal.SIGKILL)
    # Slurm itself may queue it again, which then goes on from the state that was saved.
    assert ended(executor, handle) in (137, 0)
    appears(tmp_path / "state")
    with pytest.raises(ProcessLookupError):
        until = time.monotonic() + 20
        while time.monotonic() < until:
            os.kill(run, 0)
            time.sleep(0.1)


def test_nothing_of_a_run_that_is_ended_stays(executor: Executor, tmp_path: Path):
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.fork()\n"
    code += "open(f'begun-{os.getpid()}', 'w').write('1'); time.sleep(600)"
    handle = submitted(executor, code, tmp_path)
    until = time.monotonic() + 60
    while len(list(tmp_path.glob("begun-*"))) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    pids = [int(path.name.split("-")[1]) for path in tmp_path.glob("begun-*")]
    assert len(pids) == 2
    handle.end()
    assert handle.poll() == 137
    until = time.monotonic() + 20
    while any(alive(pid) for pid in pids) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(alive(pid) for pid in pids)


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def works(tmp_path: Path, names: str, code: str) -> list[Work]:
    def work(name: str) -> Work:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)

        def finished():
            return SimpleNamespace(metrics={}) if (folder / "result").exists() else None

        return Work(name, python(code, folder), folder / "logs" / "a.log", folder / "result", finished)

    return [work(name) for name in names]


def test_a_run_that_was_stopped_at_a_checkpoint_goes_on(executor: Executor, tmp_path: Path):
    # Somebody else stops it, once.
    code = "import threading, time\nif not os.path.exists('state'): "
    code += f"threading.Timer(0.3, lambda: os.kill(os.getpid(), 15)).start()\n{SAVES}"
    todo = works(tmp_path, "ab", code)
    summary = Sweep(todo, Summary(), executor, 2, environment=os.environ).run()
    if not executor.preempts:
        # On this machine only the user does so, and means it; the same command goes on.
        assert summary.left == ["a", "b"]
        summary = Sweep(todo, Summary(), executor, 2, environment=os.environ).run()
    assert sorted(summary.done) == ["a", "b"] and not summary.left and not summary.failed
    assert {(tmp_path / name / "result").read_text() for name in "ab"} == {"half, whole"}


def test_a_run_whose_time_is_over_is_queued_again_by_submitit(tmp_path: Path):
    pytest.importorskip("submitit", reason="needs ebbench[slurm]")
    from ebbench.sweeps.slurm import Slurm

    executor = Slurm(Profile(seconds=600.0), cluster="local")
    handle = submitted(executor, SAVES, tmp_path)
    appears(tmp_path / "begun")
    # As Slurm tells a job before its limit.
    os.kill(int((tmp_path / "begun").read_text().split()[1]), signal.SIGUSR2)
    assert ended(executor, handle) == 0
    assert (tmp_path / "result").read_text() == "half, whole"
    # Its log goes on.
    assert (tmp_path / "logs" / "a.log").read_text().count("begun") == 2


@pytest.mark.medium
def test_runs_of_a_plan_are_those_of_a_serial_sweep(
    executor: Executor, cli, plugins: Path, tmp_path: Path, monkeypatch
):
    if isinstance(executor, LocalProcesses):
        pytest.skip("test_sweep.py has it")
    text = '[[runs]]\ntasks = ["dots"]\nmodels = ["blob"]\nbudgets = ["smoke"]\nsamplers = ["generator", '
    (tmp_path / "plan.toml").write_text(text + '"shifted"]\nseeds = "0"\n')
    for seed_sampler in ("generator", "shifted"):
        ran = cli("run", "--task", "dots", "--model", "blob", "--budget", "smoke", "--sampler", seed_sampler,
                  "--results", "serial", "--threads", "1")  # fmt: skip
        assert ran.code == 0, ran.err
    shutil.rmtree(tmp_path / "home" / "runs")
    jobs, summary, results = plan.read_plan(tmp_path / "plan.toml"), Summary(), tmp_path / "results"
    options = ["--threads", "1", "--device", "cpu", "--results", str(results), "--no-wait"]
    todo = graph.find_work(jobs, results, Store(), options, summary, workers=2)
    assert [work.training for work in todo] == [True, False, False]
    summary = Sweep(todo, summary, executor, 2, environment=os.environ).run()
    assert len(summary.done) == 2 and not summary.failed, summary.text()

    def read(folder: str) -> dict[str, dict[str, float]]:
        found = map(resultfiles.read, (tmp_path / folder).rglob("*.json"))
        return {one.run_id: one.metrics for one in found}

    assert read("results") == read("serial") and len(read("serial")) == 2


def test_each_run_of_this_machine_has_a_card_of_its_own(tmp_path: Path):
    executor = LocalProcesses(["2", "GPU-5"])
    code = f"open('card', 'w').write(os.environ.get({VISIBLE!r}, 'none')); import time; time.sleep(30)"
    handles = []
    for name in "abc":
        (tmp_path / name).mkdir()
        log = tmp_path / name / "a.log"
        handles.append(executor.submit(python(code, tmp_path / name), os.environ, Resources(1, 1.0), log))
        appears(tmp_path / name / "card")
    cards = [(tmp_path / name / "card").read_text() for name in "abc"]
    assert cards[:2] == ["2", "GPU-5"] and cards[2] == "2"
    handles[1].end()
    (tmp_path / "d").mkdir()
    last = executor.submit(python(code, tmp_path / "d"), os.environ, Resources(1, 1.0), tmp_path / "d.log")
    appears(tmp_path / "d" / "card")
    assert (tmp_path / "d" / "card").read_text() == "GPU-5"
    for handle in [*handles, last]:
        handle.end()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[executor", "cannot be read"),
        ('[executor]\nkind = "pbs"\n', "wrong at 'kind'"),
        ("[executor]\nworker = 2\n", "wrong at 'worker'"),
        ('[executor]\ntime = "soon"\n', "not a duration"),
        ('[executor]\nkind = "slurm"\ntime = "2m"\n', "is too short for its notice"),
    ],
)
def test_a_profile_that_is_wrong(tmp_path: Path, text: str, said: str):
    (tmp_path / "profile.toml").write_text(text)
    with pytest.raises(UsageError) as error:
        read_profile(tmp_path / "profile.toml")
    assert said in str(error.value) and "profile.toml" in str(error.value) or "time" in str(error.value)


def test_a_profile_and_the_command_line(tmp_path: Path):
    (tmp_path / "a.toml").write_text('[executor]\nworkers = 3\ntime = "1h"\noptions = { account = "x" }\n')
    profile = read_profile(tmp_path / "a.toml")
    assert (profile.seconds, profile.options, profile.kind) == (3600.0, {"account": "x"}, None)
    assert choose.chosen(profile, kind="", workers=None, threads=0, device="cpu") == (None, 3, None)
    assert choose.chosen(profile, kind="local", workers=5, threads=0, device="cpu")[1] == 5
    with pytest.raises(UsageError, match="unknown executor"):
        choose.chosen(profile, kind="slrum", workers=None, threads=0, device="cpu")


def test_a_missing_extra_is_named_with_its_cure():
    with pytest.raises(UsageError) as error:
        needed("no_such_engine", "slurm")
    assert "pip install 'ebbench[slurm]'" in str(error.value)


def test_the_outcome_of_an_earlier_submission_is_not_taken(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"submission": "x", "host": "h", "pid": 2, "began": 1.0, "exit_code": 0}))
    assert read_outcome(path, "y") is None and read_outcome(path, "x") == read_outcome(path)
    for text in ("", "{}", "[1]", '{"a": 1}'):
        path.write_text(text)
        assert read_outcome(path) is None
