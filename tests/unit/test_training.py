"""`run.batches`: which batches it draws, and that no interruption changes anything."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch

from ebbench.conformance.noise import NoiseData
from ebbench.contract import DataSpec, Model
from ebbench.data.pool import Pool
from ebbench.errors import ContractError, Diverged, Stopped
from ebbench.running import training
from ebbench.running.progress import Reporter
from ebbench.running.signals import StopRequest
from ebbench.running.training import TrainingRun

SPEC = DataSpec(name="noise", shape=(2,))


class Recorder(Model):
    """Walks a weight by every batch it sees and by noise, in one or two loops."""

    def __init__(self, plan: list[dict[str, int]]) -> None:
        super().__init__(SPEC, None)
        self.net = torch.nn.Linear(2, 1)
        self.plan = plan
        self.seen: list[torch.Tensor] = []

    def train(self, data, run) -> None:
        self.opt = torch.optim.Adam(self.net.parameters())
        for plan in self.plan:
            for x in run.batches(data, size=8, **plan):
                self.seen.append(x)
                loss = (self.net(x) + torch.randn(8, 1, device=x.device)).square().mean()
                self.opt.zero_grad()
                loss.backward()
                self.opt.step()
                run.log(loss=loss, twice=2.0)


def start(
    model: Model, folder: Path, stop: StopRequest | None = None, *, device: str = "cpu", **settings
) -> TrainingRun:
    torch.manual_seed(0)
    model.net.to("cpu").reset_parameters()
    model.net.to(device)
    torch.manual_seed(1)
    run = TrainingRun(
        model,
        folder,
        seed=3,
        device=torch.device(device),
        stop=stop or StopRequest(),
        reporter=Reporter(),
        **settings,
    )
    values = NoiseData(SPEC)[torch.arange(512)]
    model.train(Pool(values, None, SPEC, torch.device(device)), run)
    return run


@pytest.mark.parametrize(
    "device",
    ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))],
)
@pytest.mark.parametrize(
    "plan",
    [[{"steps": 30}], [{"epochs": 2}], [{"steps": 7}, {"steps": 9}], [{"epochs": 1}, {"steps": 5}]],
    ids=["steps", "epochs", "two loops", "epochs then steps"],
)
def test_stopped_after_every_step_the_training_is_the_same(tmp_path: Path, plan, device: str):
    whole = Recorder(plan)
    run = start(whole, tmp_path / "whole", device=device)
    attempts = 0
    while True:
        again = Recorder(plan)
        stop = StopRequest()
        stop.signal = signal.SIGTERM
        try:
            resumed = start(again, tmp_path / "parts", stop, device=device)
        except Stopped as stopped:
            assert stopped.exit_code == 143
            attempts += 1
            continue
        break
    assert attempts == run.steps == resumed.steps
    for name, value in whole.net.state_dict().items():
        assert torch.equal(value, again.net.state_dict()[name])
    assert resumed.curves.series == run.curves.series
    assert resumed.curves.step == run.curves.step
    assert resumed.examples == run.examples == 8 * run.steps


def test_a_training_that_once_shared_its_gpu_is_marked_to_its_end(tmp_path: Path, monkeypatch):
    plan = [{"steps": 3}]
    stop = StopRequest()
    stop.signal = signal.SIGTERM
    monkeypatch.setattr(training, "shared_gpu", lambda device: True)
    with pytest.raises(Stopped):
        start(Recorder(plan), tmp_path, stop)
    monkeypatch.setattr(training, "shared_gpu", lambda device: False)
    assert start(Recorder(plan), tmp_path).shared
    assert not start(Recorder(plan), tmp_path / "alone").shared


def test_an_epoch_sees_each_example_once(tmp_path: Path):
    model = Recorder([{"epochs": 2}])
    start(model, tmp_path)
    first, second = torch.cat(model.seen).split(512)
    everything = NoiseData(SPEC)[torch.arange(512)]
    for epoch in (first, second):
        assert torch.equal(epoch.sort(0).values, everything.sort(0).values)
    assert not torch.equal(first, second)


def test_steps_draw_with_replacement_and_by_seed(tmp_path: Path):
    model = Recorder([{"steps": 128}])
    start(model, tmp_path / "a")
    distinct = len({tuple(row) for row in torch.cat(model.seen).tolist()})
    # 1,024 draws of 512: about 1 - 1/e^2 of them are met; 448 +- 20 is over four deviations wide.
    assert 420 < distinct < 470
    again = Recorder([{"steps": 128}])
    start(again, tmp_path / "b")
    assert all(torch.equal(a, b) for a, b in zip(model.seen, again.seen, strict=True))


def test_curves_are_means_over_windows(tmp_path: Path):
    class Logger(Recorder):
        def train(self, data, run):
            for step, _ in enumerate(run.batches(data, size=4, steps=1000)):
                run.log(step=torch.tensor(float(step)), even=step % 2)

    run = start(Logger([]), tmp_path)
    assert run.curves.step == list(range(5, 1001, 5))
    assert run.curves.series["step"][:2] == [2.0, 7.0]
    assert run.curves.series["even"][0] == pytest.approx(0.4)


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path: Path):
    class Bad(Recorder):
        def train(self, data, run):
            for step, _ in enumerate(run.batches(data, size=4, steps=400)):
                run.log(loss=torch.tensor(float("nan") if step == 7 else 1.0))

    with pytest.raises(Diverged, match="'loss' is nan at or before step 8"):
        start(Bad([]), tmp_path)


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


def test_checkpoints_begin_with_the_first_step_and_come_more_rarely(tmp_path: Path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(training, "time", clock)
    saved: list[float] = []
    save = training.state.save
    monkeypatch.setattr(
        training.state, "save", lambda tree, path: (saved.append(tree["position"]), save(tree, path))
    )

    class Slow(Recorder):
        def train(self, data, run):
            for _ in run.batches(data, size=4, steps=400):
                clock.now += 1.0

    start(Slow([]), tmp_path, checkpoint_seconds=60.0)
    pauses = [later - earlier for earlier, later in zip(saved, saved[1:], strict=False)]
    assert saved[0] == 1, "the first step is worth a checkpoint: whatever is wrong with saving shows at once"
    assert saved[3] <= 14, "a kill in the first seconds loses little"
    assert pauses == sorted(pauses) and max(pauses) == 61


def test_saving_that_takes_long_is_rare(tmp_path: Path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(training, "time", clock)
    saved: list[float] = []

    def save(tree, path):
        saved.append(clock.now)
        clock.now += 5.0

    monkeypatch.setattr(training.state, "save", save)

    class Slow(Recorder):
        def train(self, data, run):
            for _ in run.batches(data, size=4, steps=5000):
                clock.now += 1.0

    start(Slow([]), tmp_path)
    assert len(saved) * 5.0 < 0.02 * clock.now + 15.0


def test_a_slow_machine_ends_in_the_same_numbers(tmp_path: Path, monkeypatch):
    quick = Recorder([{"steps": 40}])
    run = start(quick, tmp_path / "quick")
    clock = Clock()
    monkeypatch.setattr(training, "time", clock)

    class Slow(Recorder):
        def train(self, data, run):
            log = run.log

            def late(**scalars):
                clock.now += 3600.0
                log(**scalars)

            run.log = late
            super().train(data, run)

    slow = Slow([{"steps": 40}])
    late = start(slow, tmp_path / "slow")
    assert late.seconds == 40 * 3600 and (late.steps, late.stopped_by) == (40, "steps")
    assert run.curves.series == late.curves.series
    assert all(torch.equal(a, b) for a, b in zip(quick.net.parameters(), slow.net.parameters(), strict=True))


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"steps": 1, "epochs": 1},
        {"epochs": 1, "size": 10_000},
        {"steps": -1},
        {"epochs": -1},
        {"steps": 1, "size": 0},
    ],
)
def test_a_call_that_makes_no_sense_is_refused(tmp_path: Path, words):
    class Odd(Recorder):
        def train(self, data, run):
            next(run.batches(data, **{"size": 4, **words}))

    with pytest.raises(ContractError, match="run.batches"):
        start(Odd([]), tmp_path)


def noisy_evaluation(model: Recorder):
    """Numbers of the state alone, taken while the global random numbers are used up."""

    def evaluate(step: int) -> dict[str, float]:
        torch.rand(100)
        return {"weight": float(model.net.weight.detach().sum()), "step": float(step)}

    return evaluate


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ([{"epochs": 2}], [0, 64, 128]),
        ([{"steps": 100}], [0, 64, 100]),
        ([{"epochs": 1}, {"steps": 3}], [0, 64, 67]),
        ([{"epochs": 0}], [0]),
        ([], [0]),
    ],
    ids=["epochs", "steps", "two loops", "no epoch", "no loop"],
)
def test_evaluations_are_taken_at_each_epoch_and_leave_no_trace(tmp_path: Path, plan, expected):
    plain = Recorder(plan)
    start(plain, tmp_path / "plain").finish()
    looked = Recorder(plan)
    run = start(looked, tmp_path / "looked", evaluate=noisy_evaluation(looked))
    run.finish()
    assert run.evaluations.step == run.evaluations.series["step"] == expected
    assert all(
        torch.equal(a, b) for a, b in zip(plain.net.parameters(), looked.net.parameters(), strict=True)
    )
    assert run.evaluations.series["weight"][-1] == float(looked.net.weight.detach().sum())


@pytest.mark.parametrize(
    ("plan", "most", "expected"),
    [
        # 64 batches of 8 are an epoch of the 512 examples.
        ([{"epochs": 7}], 3, [0, 192, 384, 448]),
        ([{"epochs": 2}], 3, [0, 64, 128]),
        ([{"steps": 320}], 1, [0, 320]),
        ([{"steps": 300}], 4, [0, 128, 256, 300]),
        ([{"epochs": 0}], 2, [0]),
    ],
)
def test_evaluations_can_be_rarer_than_epochs(tmp_path: Path, plan, most: int, expected: list[int]):
    model = Recorder(plan)
    run = start(model, tmp_path, evaluate=noisy_evaluation(model), most_evaluations=most)
    run.finish()
    assert run.evaluations.step == expected and len(expected) <= most + 1


def test_of_data_smaller_than_a_batch_each_step_is_an_epoch_and_few_are_looked_at(tmp_path: Path):
    torch.manual_seed(0)
    model = Recorder([])
    run = TrainingRun(
        model,
        tmp_path,
        seed=3,
        device=torch.device("cpu"),
        stop=StopRequest(),
        reporter=Reporter(),
        evaluate=lambda step: {"step": float(step)},
        most_evaluations=5,
    )
    data = Pool(NoiseData(SPEC)[torch.arange(4)], None, SPEC, torch.device("cpu"))
    for _ in run.batches(data, size=8, steps=1500):
        pass
    run.finish()
    assert run.evaluations.step == [0, 300, 600, 900, 1200, 1500]


def test_evaluations_survive_interruptions_and_are_taken_once(tmp_path: Path):
    plan = [{"epochs": 2}, {"steps": 3}]
    whole = Recorder(plan)
    expected = start(whole, tmp_path / "whole", evaluate=noisy_evaluation(whole))
    taken: list[int] = []
    while True:
        again = Recorder(plan)
        look = noisy_evaluation(again)

        def evaluate(step: int, look=look) -> dict[str, float]:
            taken.append(step)
            return look(step)

        stop = StopRequest()
        stop.signal = signal.SIGTERM
        try:
            resumed = start(again, tmp_path / "parts", stop, evaluate=evaluate)
        except Stopped:
            continue
        break
    assert resumed.evaluations.series == expected.evaluations.series
    # (The one of the untrained model is saved with the first step.)
    assert taken == [0, 64, 128, 131]


def test_evaluations_cost_the_training_no_time(tmp_path: Path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(training, "time", clock)

    def slow(step: int) -> dict[str, float]:
        clock.now += 1000.0
        return {}

    run = start(Recorder([{"steps": 3}]), tmp_path, evaluate=slow)
    assert len(run.evaluations.step) == 2 and run.seconds == 0.0
