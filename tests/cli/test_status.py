"""`ebbench status` and `ebbench sweep --watch`: what is done, running, waiting, failed, by files alone."""

from __future__ import annotations

import io
import json
import os
import platform
import re
import time
from pathlib import Path

import pytest
from rich.console import Console

import ebbench
import toys
from ebbench.cli import watching
from ebbench.errors import Stopped, UsageError
from ebbench.running import attempts
from ebbench.running.attempts import Attempting, attempt_file
from ebbench.running.progress import Reporter
from ebbench.storage import alive, leases, runstore
from ebbench.storage.files import home
from ebbench.sweeps import plan, survey
from ebbench.sweeps.survey import RunState, Survey

PLAN = '[[runs]]\ntasks = ["dots"]\nmodels = ["blob", "odd"]\nbudgets = ["smoke"]\nseeds = "0-1"\n'
RUN = ("run", "--task", "dots", "--budget", "smoke", "--quiet", "--model")


@pytest.fixture
def planned(plugins: Path, tmp_path: Path) -> Path:
    toys.write_one_method(plugins, "def sample(self, n):\n    return 1 / 0\n")
    path = tmp_path / "plan.toml"
    path.write_text(PLAN)
    return path


def states(cli, *words: str) -> dict[str, dict[str, object]]:
    """What `ebbench status --format json` says, by run."""
    said = cli("status", "plan.toml", "--format", "json", *words)
    document = json.loads(said.out)
    assert len(document["runs"]) == sum(document[state] for state in survey.STATES)
    return {run.pop("run"): run for run in document["runs"]}


def attempting(path: Path, seed: int = 0) -> tuple[Attempting, Path]:
    """What the engine keeps of a run of the plan's first model, and the folder of its training."""
    (job,) = (j for j in plan.read_plan(path) if j.seed == seed and j.request.model == "blob")
    from ebbench.data.store import Store
    from ebbench.running.identity import identify
    from ebbench.sweeps.work import Tasks

    identity = identify(job.spec, Tasks(Store()).of(job.spec), seed)
    file = attempt_file("dots", "blob", identity.run_id)
    return Attempting(file, Reporter()), home() / "runs" / identity.training


def test_before_anything_was_run_all_is_waiting_and_nothing_is_written(cli, planned: Path, tmp_path: Path):
    said = cli("status", "plan.toml")
    assert said.code == 124 and said.out.startswith("0 of 4 done, 0 running, 4 waiting, 0 failed\n"), said
    assert not (tmp_path / "home").exists() and not (tmp_path / "results").exists()


@pytest.mark.medium
def test_what_is_done_failed_stopped_and_waiting(cli, planned: Path, tmp_path: Path):
    assert cli(*RUN, "blob", "--seeds", "1").code == 0
    assert cli(*RUN, "odd").code == 2
    assert cli(*RUN, "blob", "--time-limit", "0.3s", "--set", "pause=0.05").code == 124
    planned.write_text(
        f"{PLAN}[[runs]]\ntasks=['dots']\nmodels=['blob']\nbudgets=['smoke']\nseeds='0'\nset={{pause=0.05}}\n"
    )
    found = states(cli)
    assert {name: run["state"] for name, run in found.items()} == {
        "dots blob smoke seed 0": "waiting",
        "dots odd smoke seed 0": "failed",
        "dots blob smoke pause=0.05 seed 0": "waiting",
        "dots blob smoke seed 1": "done",
        "dots odd smoke seed 1": "waiting",
    }
    assert found["dots odd smoke seed 0"]["said"] == (
        "sample() of model 'odd' raised ZeroDivisionError: division by zero"
    )
    stopped = found["dots blob smoke pause=0.05 seed 0"]
    assert stopped["stage"] == "training" and stopped["steps"] == 60
    saved = re.fullmatch(
        r"stopped by the time limit: training saved at step (\d+) of 60", str(stopped["said"])
    )
    assert saved is not None and int(saved[1]) < 60
    said = cli("status", "plan.toml")
    assert said.code == 1 and "1 of 5 done, 0 running, 3 waiting, 1 failed" in said.out
    assert (
        "blob smoke seed 1" not in said.out and "blob smoke seed 1" in cli("status", "plan.toml", "--all").out
    )
    # All that is left of a run that went on to its end is its result.
    assert cli(*RUN, "blob", "--set", "pause=0.05").code == 0
    assert states(cli)["dots blob smoke pause=0.05 seed 0"]["state"] == "done"


def test_all_done(cli, planned: Path, tmp_path: Path):
    planned.write_text(PLAN.replace(', "odd"', "").replace("0-1", "0"))
    assert cli(*RUN, "blob").code == 0
    said = cli("status", "plan.toml")
    assert said.code == 0 and said.out == "1 of 1 done, 0 running, 0 waiting, 0 failed\n"
    # In another folder of results nothing is there.
    assert cli("status", "plan.toml", "--results", "elsewhere").code == 124


@pytest.mark.parametrize("kind", ["flock", "lease"])
def test_what_runs_says_who_and_how_far_and_how_long(cli, planned: Path, monkeypatch, kind: str):
    monkeypatch.setenv("EBBENCH_LOCKS", kind)
    told, place = attempting(planned)
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with runstore.locked(place, print), told:
        told.at(place.name, "2 of 3")
        told.begin("training", 500, 100)
        now += 10.0
        told.update(300)
        run = states(cli)["dots blob smoke seed 0"]
        assert run == {
            "state": "running",
            "host": platform.node(),
            "pid": os.getpid(),
            "stage": "training",
            "step": 300,
            "steps": 500,
            # 200 steps in ten seconds.
            "seconds_left": pytest.approx(10.0),
            "said": "part 2 of 3",
        }
        line = next(x for x in cli("status", "plan.toml").out.splitlines() if x.startswith("running"))
        assert f"{platform.node()}:{os.getpid()}" in line and "training 300/500  10 s left" in line
    assert states(cli)["dots blob smoke seed 0"]["state"] == "waiting"


@pytest.mark.parametrize("kind", ["flock", "lease"])
def test_a_run_that_was_killed_is_no_longer_running(cli, planned: Path, monkeypatch, kind: str):
    """Nobody said that it ended: the lock is free, or another run of its training has it."""
    monkeypatch.setenv("EBBENCH_LOCKS", kind)
    told, place = attempting(planned)
    told.at(place.name)
    told.begin("training", 500, 100)
    place.mkdir(parents=True)
    run = states(cli)["dots blob smoke seed 0"]
    assert run["state"] == "waiting" and run["step"] == 100
    assert run["said"] == f"cut off on {platform.node()}, process {os.getpid()}"
    file = next((home() / "attempts").rglob("*.json"))
    kept = json.loads(file.read_text())
    file.write_text(json.dumps(kept | {"pid": 1, "began": "1"}))
    with runstore.locked(place, print):
        assert states(cli)["dots blob smoke seed 0"]["state"] == "waiting"


def test_a_holder_that_is_silent_is_said_and_one_that_is_gone_does_not_run(planned: Path, monkeypatch):
    monkeypatch.setenv("EBBENCH_LOCKS", "lease")
    monkeypatch.setattr(alive, "machine", lambda: "another boot")
    told, place = attempting(planned)
    with runstore.locked(place, print), told:
        told.at(place.name)
        monkeypatch.setattr(alive, "machine", lambda: "this boot")
        (lease,) = place.glob("lease.*")
        os.utime(lease, (time.time() - 7200,) * 2)
        looking = Survey(plan.read_plan(planned), planned.parent / "results", None)
        run = looking.look()[0]
        assert run.state == "running" and run.said.startswith("no heartbeat for 2:00:")
        now = time.monotonic()
        for _ in range(leases.MISSES):
            now += leases.HEARTBEAT
            monkeypatch.setattr(time, "monotonic", lambda now=now: now)
            looking._watcher._watches[place]._clock = time.monotonic
            run = looking.look()[0]
        assert run.state == "waiting" and run.said.startswith("cut off on")


OVER = """
from dataclasses import dataclass

from ebbench import Model


class Over(Model):
    builds_on = "base"

    @dataclass(frozen=True)
    class Config:
        base: str = "blob"

    def train(self, data, run):
        for _ in run.batches(data, size=32, steps=5):
            pass

    def sample(self, n):
        return 1 - self.base.sample(n)
"""


@pytest.fixture
def built(plugins: Path, tmp_path: Path) -> list[plan.Job]:
    """A plan of one run of a model that is built on "blob"."""
    card = 'name = "over"\ntitle = "Over"\n\n[budgets.smoke.default]\n'
    toys.write_model(plugins, OVER, "over", card)
    (tmp_path / "plan.toml").write_text(
        '[[runs]]\ntasks = ["dots"]\nmodels = ["over"]\nbudgets = ["smoke"]\nseeds = "0"\n'
    )
    return plan.read_plan(tmp_path / "plan.toml")


def test_a_base_that_is_trained_by_itself_is_seen(cli, built: list[plan.Job], tmp_path: Path, monkeypatch):
    looking, seen = Survey(built, tmp_path / "results", None), []
    begin = Attempting.begin

    def looked(self: Attempting, what: str, total: int, done: int = 0) -> None:
        begin(self, what, total, done)
        seen.extend(looking.look())

    monkeypatch.setattr(Attempting, "begin", looked)
    assert cli(*RUN, "over", "--until", "base").code == 0
    (run,) = seen
    assert (run.state, run.stage, run.steps, run.said) == ("running", "training", 60, "base blob")
    assert (run.host, run.pid) == (platform.node(), os.getpid())
    # It is over, and the run itself was not begun.
    (run,) = looking.look()
    assert (run.state, run.stage, run.said) == ("waiting", "", "base blob trained")
    assert cli(*RUN, "over", "--until", "training").code == 0
    assert seen[-1].said == "" and seen[-1].steps == 5
    assert looking.look()[0].said == "trained, base blob trained"
    assert cli(*RUN, "over").code == 0
    assert looking.look()[0].state == "done"


def test_a_base_that_was_stopped_or_raised_is_seen(cli, built, plugins: Path, tmp_path: Path):
    model = plugins / "blob" / "model.py"
    slow = model.read_text().replace("time.sleep(self.config.pause)", "time.sleep(0.05)")
    model.write_text(slow)
    looking = Survey(plan.read_plan(tmp_path / "plan.toml"), tmp_path / "results", None)
    assert cli(*RUN, "over", "--until", "base", "--time-limit", "0.3s").code == 124
    (run,) = looking.look()
    assert run.state == "waiting" and run.steps == 60
    assert run.said.startswith("base blob: stopped by the time limit: training saved at step")
    model.write_text(slow.replace("loss.backward()", "raise ValueError('too steep')"))
    looking = Survey(plan.read_plan(tmp_path / "plan.toml"), tmp_path / "results", None)
    assert cli(*RUN, "over", "--until", "base").code == 2
    (run,) = looking.look()
    assert run.state == "failed" and run.said.startswith("base blob: ") and "too steep" in run.said


def test_what_went_wrong_before_a_run_began_is_read_in_its_log(cli, planned: Path, monkeypatch):
    told, place = attempting(planned)
    (job, *_), results = plan.read_plan(planned), planned.parent / "results"
    log = Survey([job], results, None)._runs[0].log
    log.parent.mkdir(parents=True)
    log.write_text("begun\nerror: there is no device 'cuda'\n  where: --device cuda\n  fix: another\n")
    assert states(cli)["dots blob smoke seed 0"]["said"] == "there is no device 'cuda'"
    assert states(cli)["dots blob smoke seed 0"]["state"] == "failed"
    # A word of a plug-in in the middle of a log is no error of the run.
    log.write_text("error: so says the model\nand goes on\n")
    assert states(cli)["dots blob smoke seed 0"]["state"] == "waiting"


@pytest.mark.parametrize(
    ("error", "state", "said"),
    [
        (UsageError("no such thing", where="here"), "failed", "no such thing"),
        (ValueError("a\nb"), "failed", "ValueError: a"),
        (KeyboardInterrupt(), "stopped", "KeyboardInterrupt"),
        (
            Stopped("stopped by SIGINT: at once; the same command goes on", 130),
            "stopped",
            "stopped by SIGINT: at once",
        ),
    ],
)
def test_how_an_attempt_ended(tmp_path: Path, error: BaseException, state: str, said: str):
    told = Attempting(tmp_path / "a.json", Reporter())
    with pytest.raises(type(error)), told:
        raise error
    assert not (tmp_path / "a.json").exists(), "it never had the lock"
    with pytest.raises(type(error)), told:
        told.at("abc")
        raise error
    found = attempts.read(tmp_path / "a.json")
    assert found is not None and (found.state, found.said, found.training) == (state, said, "abc")
    with told:
        told.at("abc")
    assert attempts.read(tmp_path / "a.json") is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"when": 1}', "\ud800"])
def test_an_attempt_that_cannot_be_read_is_none(tmp_path: Path, content: str):
    (tmp_path / "a.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    assert attempts.read(tmp_path / "a.json") is None


def test_a_damaged_result_and_a_task_that_raises_have_failed(
    cli, planned: Path, plugins: Path, tmp_path: Path
):
    assert cli(*RUN, "blob").code == 0
    next((tmp_path / "results").rglob("*.json")).write_text("{")
    toys.write_task(
        plugins,
        toys.TASK.replace(
            "super().__init__(options",
            "raise RuntimeError('no task today')\n        super().__init__(options",
        ),
        "broken",
    )
    planned.write_text(PLAN.replace('["dots"]', '["dots", "broken"]').replace("0-1", "0"))
    found = states(cli)
    assert "is not a result" in str(found["dots blob smoke seed 0"]["said"])
    assert "no task today" in str(found["broken blob smoke seed 0"]["said"])
    assert {run["state"] for run in found.values()} == {"failed", "waiting"}


@pytest.mark.parametrize(
    ("words", "said"),
    [(("nowhere.toml",), "cannot be read"), (("plan.toml", "--format", "xml"), "unknown format 'xml'")],
)
def test_a_mistake_is_said(cli, planned: Path, words: tuple[str, ...], said: str):
    ran = cli("status", *words)
    assert ran.code == 2 and said in ran.err, ran


def test_from_python(cli, planned: Path, tmp_path: Path):
    assert cli(*RUN, "blob").code == 0
    found = ebbench.status(planned, results=tmp_path / "results")
    assert [one.state for one in found] == ["done", "waiting", "waiting", "waiting"]
    assert found[0].run == "dots blob smoke seed 0"


SOME = [
    RunState("a", "done"),
    *(RunState(f"w{number}", "waiting") for number in range(15)),
    RunState("f", "failed", said="[red]odd\x1b[2J"),
    RunState("b", "waiting", stage="training", step=3, steps=9, said="stopped"),
    RunState("r", "running", "node1", 7, "training", 1234, 5000, 3725.0),
]


def test_what_is_left_out_is_counted():
    text = "\n".join(watching.lines(SOME))
    assert text.startswith("1 of 19 done, 1 running, 16 waiting, 1 failed")
    assert re.search(r"running  r +node1:7  training 1,234/5,000  1:02:05 left", text)
    assert [line.split()[1] for line in text.splitlines()[1:4]] == ["r", "f", "b"]
    assert "... and 5 more waiting (--all names every run)" in text and "\x1b" not in text
    assert len(watching.lines(SOME, everything=True)) == 1 + len(SOME)


def test_the_table_fits_the_terminal_and_obeys_nobody():
    console = Console(file=io.StringIO(), force_terminal=True, width=90, height=10, color_system=None)
    console.print(watching.table(SOME, height=4))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert len(text.splitlines()) == 6 and "... and 9 more" in text
    assert "[red]odd" in text and "\x1b" not in text and "1:02:05 left" in text


class Counting(Survey):
    """A survey that is played: a run more is done at each look."""

    def __init__(self, fails: bool = False) -> None:
        self.looks, self.fails = 0, fails

    def look(self) -> list[RunState]:
        self.looks += 1
        if self.fails:
            raise OSError("no store")
        return [RunState(f"run{n}", "done" if n < self.looks else "running", "node1", 7) for n in range(50)]


def test_watching_elsewhere_than_on_a_terminal_says_lines(capsys, monkeypatch):
    monkeypatch.setattr(watching, "PLAIN", 0.01)
    looking = Counting()
    with watching.watched(looking):
        print("done: run0")
        while looking.looks < 3:
            time.sleep(0.01)
    said = capsys.readouterr()
    assert (
        said.out == "done: run0\n" and "1 of 50 done, 49 running" in said.err and "3 of 50 done" in said.err
    )


def test_watching_on_a_terminal_draws_below_what_is_printed(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(watching, "LIVE", 0.01)
    looking = Counting()
    with watching.watched(looking):
        print("done: run0")
        while looking.looks < 3:
            time.sleep(0.01)
    said = capsys.readouterr().out
    assert "done: run0\n" in said and "2 of 50 done" in said and "more lines" in said


def test_watching_that_fails_ends_no_sweep(capsys, monkeypatch):
    looking = Counting(fails=True)
    with watching.watched(looking):
        time.sleep(0.1)
    assert "--watch has stopped: OSError: no store" in capsys.readouterr().err
