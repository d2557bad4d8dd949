"""Loggers: what they are told, and that nothing they do reaches a run."""

from __future__ import annotations

import importlib.util
import json
import random
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from test_training import Recorder, start

import ebbench
import toys
from ebbench.errors import UsageError
from ebbench.running import loggers, training

RUN = {"task": "dots", "model": "blob", "budget": "smoke"}


class Listener:
    """A factory that keeps what its loggers are told."""

    def __init__(self) -> None:
        self.told: list[tuple] = []

    def __call__(self, training: loggers.Training) -> loggers.Logger:
        self.told.append(("begin", training))
        return self

    def scalars(self, step, values) -> None:
        self.told.append(("scalars", step, values))

    def picture(self, name, pixels) -> None:
        self.told.append(("picture", name, pixels))
        pixels[:] = 0

    def done(self, metrics) -> None:
        self.told.append(("done", metrics))

    def of(self, kind: str) -> list[tuple]:
        return [entry[1:] for entry in self.told if entry[0] == kind]


class Gambler(Listener):
    """One that draws and seeds as it is told, and changes what it is given."""

    def _play(self) -> None:
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)
        torch.rand(random.randrange(1, 9))

    def __call__(self, training):
        self._play()
        return super().__call__(training)

    def scalars(self, step, values) -> None:
        self._play()
        values.clear()

    def done(self, metrics) -> None:
        self._play()
        metrics.clear()


@pytest.fixture(autouse=True)
def here(plugins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_logger_is_told_the_curves_the_pictures_and_the_metrics(plugins: Path):
    code = toys.TASK.replace(
        '        return Score({"error"',
        '        scoring.picture("dots", torch.full((4, 4, 3), 7, dtype=torch.uint8).numpy())\n'
        '        return Score({"error"',
    )
    (plugins / "dots" / "task.py").write_text(code)
    listener = Listener()
    (result,) = ebbench.run(**RUN, logger=listener, settings={"lr": 0.02})
    ((told,),) = listener.of("begin")
    assert (told.task, told.model, told.budget, told.seed, told.part) == ("dots", "blob", "smoke", 0, "")
    assert told.config == {"steps": 60, "lr": 0.02, "pause": 0.0}
    assert result.training.hash.startswith(told.name.rpartition("-")[2])
    curves = result.training.curves
    assert listener.of("scalars") == [
        (step, {"loss": value}) for step, value in zip(curves.step, curves.series["loss"], strict=True)
    ]
    ((name, _),) = listener.of("picture")
    assert name == "dots" and listener.told[-1] == ("done", result.metrics)
    kept = Path("results/dots/blob") / result.pictures["dots"]
    assert torch.from_numpy(_pixels(kept)).unique().tolist() == [7], (
        "what a logger does to it is its own affair"
    )


def _pixels(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as picture:
        return np.array(picture)


def test_a_training_with_a_logger_ends_in_the_same_bits():
    (without,) = ebbench.run(**RUN, results="without")
    plain = ebbench.trained(without).state_dict()
    (with_one,) = ebbench.run(**RUN, results="with", force=True, logger=Gambler())
    assert with_one.metrics == without.metrics
    assert with_one.training.curves.series == without.training.curves.series
    for name, value in ebbench.trained(with_one).state_dict()["net"].items():
        assert torch.equal(value, plain["net"][name])


@pytest.mark.parametrize("where", ["__call__", "scalars", "picture", "done"])
@pytest.mark.parametrize("error", [ValueError("no such place"), SystemExit(0)], ids=["raises", "exits"])
def test_a_logger_that_fails_is_named_once_and_ends_no_run(where: str, error, capsys):
    def fail(self, *given):
        raise error

    broken = type("Broken", (Listener,), {where: fail})()
    if where == "picture":
        log = loggers.Log(broken, None)
        log.scalars(1, {"loss": 1.0})
        log.done({"one": np.zeros((1, 1, 3), np.uint8), "two": np.zeros((1, 1, 3), np.uint8)}, {"error": 1.0})
        assert not log.on and not broken.of("done")
    else:
        (result,) = ebbench.run(**RUN, logger=broken)
        assert result.metrics["error"] >= 0
        assert len(broken.of("scalars")) == (60 if where == "done" else 0)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(f"the logger failed and is switched off: {type(error).__name__}")


def test_a_run_that_fails_ends_its_log(plugins: Path):
    model = plugins / "blob" / "model.py"
    model.write_text(toys.MODEL.replace("run.log(loss=loss)", "run.log(loss=loss / (run.progress < 0.5))"))
    listener = Listener()
    with pytest.raises(ebbench.Diverged):
        ebbench.run(**RUN, logger=listener)
    assert len(listener.of("scalars")) == 30 and listener.told[-1] == ("done", {})


def test_what_was_trained_before_is_told_by_its_metrics():
    (first,) = ebbench.run(**RUN)
    listener = Listener()
    ebbench.run(**RUN, sampler="shifted", logger=listener)
    assert [entry[0] for entry in listener.told] == ["begin", "done"]
    ebbench.run(**RUN, logger=listener)
    assert len(listener.told) == 2, "a run that is done is not told again"


def test_each_part_has_its_own_and_evaluations_are_told(plugins: Path):
    more = """
    def parts(self, seed):
        return {f"{n} points": DotsTask(self.Options(n), self.protocol, self.store) for n in (64, 65)}

    def combine(self, scores):
        return scores["64 points"]

    def evaluate(self, model, scoring):
        return {"weight": float(model.net[0].weight.detach().sum())}
"""
    (plugins / "dots" / "task.py").write_text(toys.TASK + more)
    listener = Listener()
    (result,) = ebbench.run(**RUN, logger=listener)
    assert [told.part for (told,) in listener.of("begin")] == [part.name for part in result.parts]
    assert len({told.name for (told,) in listener.of("begin")}) == 2
    assert listener.of("done") == [(part.metrics,) for part in result.parts]
    evaluated = [
        (step, values["evaluation/weight"])
        for step, values in listener.of("scalars")
        if "evaluation/weight" in values
    ]
    wanted = [
        pair
        for part in result.parts
        for pair in zip(
            part.training.evaluations.step,
            part.training.evaluations.series["weight"],
            strict=True,
        )
    ]
    assert evaluated == wanted


def test_a_logger_s_time_is_none_of_the_training_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    clock = types.SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)
    monkeypatch.setattr(training, "time", clock)

    class Slow(Listener):
        def scalars(self, step, values) -> None:
            super().scalars(step, values)
            clock.now += 1000.0

    slow = Slow()
    run = start(Recorder([{"steps": 5}]), tmp_path / "run", logger=loggers.Log(slow, None))
    assert len(slow.of("scalars")) == 5 and run.seconds == 0.0


def test_tensorboard_holds_what_was_told():
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (result,) = ebbench.run(**RUN, logger=ebbench.TensorBoard("boards"))
    (file,) = Path("boards/dots/blob").rglob("events.out.tfevents.*")
    board = EventAccumulator(str(file.parent))
    board.Reload()
    found = board.Scalars("loss")
    assert [event.step for event in found] == result.training.curves.step
    assert [event.value for event in found] == pytest.approx(result.training.curves.series["loss"])
    assert board.Scalars("metrics/error")[0].value == pytest.approx(result.metrics["error"])


def test_tensorboard_takes_pictures(tmp_path: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = loggers.Log(loggers.TensorBoard(tmp_path), _training())
    log.done({"samples": np.full((4, 6, 3), 9, np.uint8)}, {"error": 0.5})
    board = EventAccumulator(str(tmp_path / "dots" / "blob+still" / "smoke-s0-abc"))
    board.Reload()
    (picture,) = board.Images("samples")
    assert (picture.width, picture.height) == (6, 4)


def _training() -> loggers.Training:
    return loggers.Training(
        task="dots", model="blob:still", budget="smoke", seed=0, part="", config={}, name="smoke-s0-abc"
    )


def test_weights_and_biases_is_given_one_run_a_training(monkeypatch: pytest.MonkeyPatch):
    runs = []

    class Run:
        def __init__(self, options) -> None:
            self.options, self.logged, self.summary, self.open = options, [], {}, True

        def log(self, values, step=None) -> None:
            self.logged.append((step, values))

        def finish(self) -> None:
            self.open = False

    def init(**options) -> Run:
        runs.append(Run(options))
        return runs[-1]

    wandb = types.ModuleType("wandb")
    wandb.init, wandb.Image = init, lambda pixels: ("image", pixels.shape)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    results = ebbench.run(**RUN, seeds="0-1", logger=ebbench.WeightsAndBiases("mine", mode="offline"))
    assert len(runs) == 2 and not any(run.open for run in runs)
    for run, result in zip(runs, results, strict=True):
        assert run.options["project"] == "mine" and run.options["mode"] == "offline"
        assert run.options["config"]["config"] == result.config
        assert [step for step, _ in run.logged] == result.training.curves.step
        assert run.summary == result.metrics
    assert runs[0].options["id"] != runs[1].options["id"]
    # One that goes on is the same run.
    ebbench.run(**RUN, force=True, logger="wandb")
    assert runs[2].options["id"] == runs[0].options["id"] and runs[2].options["resume"] == "allow"
    log = loggers.Log(loggers.named("wandb"), _training())
    log.done({"samples": np.zeros((4, 6, 3), np.uint8)}, {})
    assert runs[3].logged == [(None, {"samples": ("image", (4, 6, 3))})]


def test_json_lines_go_on_and_hold_no_nan(tmp_path: Path):
    for value in (1.5, float("nan")):
        log = loggers.Log(loggers.JsonLines(tmp_path), _training())
        log.scalars(3, {"loss": value})
        log.done({"left out": np.zeros((1, 1, 3), np.uint8)}, {"error": 0.5})
    lines = (tmp_path / "dots" / "blob+still" / "smoke-s0-abc.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"step": 3, "values": {"loss": 1.5}},
        {"metrics": {"error": 0.5}},
        {"step": 3, "values": {"loss": None}},
        {"metrics": {"error": 0.5}},
    ]


@pytest.mark.parametrize("package", ["tensorboard", "wandb"])
def test_a_package_that_is_not_installed_is_said_with_its_cure(package: str, monkeypatch):
    monkeypatch.delitem(sys.modules, package, raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError) as raised:
        ebbench.run(**RUN, logger=package)
    assert f"pip install 'ebbench[{package}]'" in str(raised.value)
    assert not list(Path().rglob("state.json"))


def test_an_unknown_logger_is_named():
    with pytest.raises(UsageError, match="did you mean 'tensorboard'"):
        loggers.named("tensorbord")
