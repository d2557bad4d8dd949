"""A captured training step: against the step as it is, with a tape in place of a CUDA graph."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest
import torch
from torch import nn

import taping
from ebbench.contract import DataSpec, Model
from ebbench.errors import Diverged, Stopped, UsageError
from ebbench.record import resultfiles
from ebbench.running import capture, seeds
from ebbench.running.progress import Reporter
from ebbench.running.rates import Rates
from ebbench.running.signals import StopRequest
from ebbench.storage import state
from taping import METHODS, Tape, apart, built, no_graph, train

CPU = torch.device("cpu")
SPEC = DataSpec(name="noise", shape=(2,))


@pytest.mark.medium
@pytest.mark.parametrize("method", METHODS)
def test_fifty_steps_are_the_same_to_the_bit(tmp_path: Path, monkeypatch, method: str):
    taping.in_float32(monkeypatch)
    plain, taped, tape = built(method, 50, CPU), built(method, 50, CPU), Tape()
    one = train(plain, tmp_path / "plain", no_graph)
    plain_random = torch.get_rng_state()
    other = train(taped, tmp_path / "taped", lambda device: tape)
    assert (tape.warm, tape.recordings, tape.replays) == (3, 1, 47)
    assert apart(plain.state_dict(), taped.state_dict()) == 0.0
    assert one.curves.series == other.curves.series
    assert torch.equal(plain_random, torch.get_rng_state())
    assert other.as_graph and not one.as_graph


class Small(Model):
    """A net that takes noise and the data; `optimiser` and `between` are a test's to choose."""

    def __init__(self, steps: int = 12, optimiser=None, step=None, between=None) -> None:
        super().__init__(SPEC, None)
        self.device = CPU
        seeds.seed_everything(0)
        self.net = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1))
        self.steps, self._between = steps, between or (lambda model, number, batch: batch)
        self._optimiser = optimiser or (
            lambda parameters: torch.optim.Adam(parameters, taping.RATE, fused=True)
        )
        self._own_step = step or Small.plain_step
        self.made: list[dict[str, torch.Tensor]] = []

    def train(self, data, run) -> None:
        self.opt = self._optimiser(self.net.parameters())
        step = run.captured(self._step)
        for number, batch in enumerate(run.batches(data, size=8, steps=self.steps)):
            # At the first step a whole number.
            made = step(self._between(self, number, batch), weight=1 + (run.progress or 0))
            self.made.append(made)
            run.log(**made)

    def _step(self, batch, weight):
        return self._own_step(self, batch, weight)

    def plain_step(self, batch, weight):
        loss = weight * (self.net(batch) + torch.randn(len(batch), 1)).square().mean()
        self.opt.zero_grad()
        loss.backward()
        self.opt.step()
        return {"loss": loss}


class Notes(Reporter):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def losses(model: Small) -> list[float]:
    return [made["loss"].item() for made in model.made]


def both(tmp_path: Path, tape: Tape, **choices) -> tuple[Small, Small, list[str]]:
    """The same training without and with a tape, which must end alike; and what was said of the latter."""
    plain, taped, notes = Small(**choices), Small(**choices), Notes()
    train(plain, tmp_path / "plain", no_graph)
    train(taped, tmp_path / "taped", lambda device: tape, reporter=notes)
    assert apart(plain.state_dict(), taped.state_dict()) == 0.0
    assert losses(plain) == losses(taped)
    return plain, taped, notes.said


def test_what_is_logged_is_the_caller_s_own(tmp_path: Path):
    _, taped, said = both(tmp_path, Tape())
    assert len(set(losses(taped))) == 12 and not said
    assert not taped.made[-1]["loss"].requires_grad


def test_a_batch_of_another_size_runs_as_it_is(tmp_path: Path):
    tape = Tape()
    both(tmp_path, tape, between=lambda model, number, batch: batch[:5] if number in (6, 8) else batch)
    assert tape.replays == 12 - 3 - 2


def test_a_rate_that_is_set_as_a_number_is_followed(tmp_path: Path):
    def decay(model, number, batch):
        model.opt.param_groups[0]["lr"] = taping.RATE / 2 ** (number // 4)
        return batch

    tape = Tape()
    both(tmp_path, tape, between=decay)
    assert tape.replays == 9


def test_an_optimiser_without_the_flag_keeps_its_rate(tmp_path: Path):
    tape = Tape()
    both(tmp_path, tape, optimiser=lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.5))
    assert tape.replays == 9


def test_a_rate_that_no_graph_can_follow_ends_it(tmp_path: Path):
    def decay(model, number, batch):
        model.opt.param_groups[0]["lr"] = 0.1 / (1 + number // 6)
        return batch

    tape = Tape()
    _, _, said = both(
        tmp_path, tape, optimiser=lambda parameters: torch.optim.SGD(parameters, 0.1), between=decay
    )
    assert tape.replays == 3 and len(said) == 1 and "the rate of SGD changes" in said[0]


class Broken(Tape):
    """A tape that breaks in the middle of the recording."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error, self.abandoned = error, 0

    def record(self, work):
        def half():
            work()
            raise self.error

        return super().record(half)

    def abandon(self) -> None:
        self.abandoned += 1


def half_done(model: Small, batch, weight):
    """A step that the recording leaves with a net that is not trained and a momentum of its own."""
    model.net.requires_grad_(False)
    model.net[1].momentum = 0.9
    value = model.net(batch).mean().detach()
    model.net.requires_grad_(True)
    model.net[1].momentum = 0.1
    return Small.plain_step(model, batch, weight) | {"value": value}


def test_a_recording_that_fails_leaves_the_step_as_it_is(tmp_path: Path):
    broken = Broken(RuntimeError("operation not permitted when stream is capturing\nmore"))
    _, taped, said = both(tmp_path, broken, step=half_done)
    assert (broken.recordings, broken.replays, broken.abandoned) == (1, 0, 1)
    (only,) = said
    assert only.endswith("CUDA graph: operation not permitted when stream is capturing")
    group = taped.opt.param_groups[0]
    assert group["lr"] == taping.RATE and not group["capturable"]


@pytest.mark.parametrize("first", [RuntimeError("they wait"), KeyboardInterrupt()])
def test_what_went_wrong_first_is_said_or_raised(tmp_path: Path, first):
    class Twice(Broken):
        def record(self, work):
            try:
                super().record(work)
            finally:
                raise RuntimeError("the recording cannot be ended")

    if isinstance(first, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            train(Small(), tmp_path, lambda device: Twice(first))
    else:
        _, _, said = both(tmp_path, Twice(first))
        assert said[0].endswith("they wait")


def test_a_recording_cut_off_in_the_middle_leaves_no_trace(tmp_path: Path):
    class Cut(Broken):
        def record(self, work):
            def cut_off(*_):
                raise RuntimeError("no")

            with pytest.MonkeyPatch.context() as patch:
                # At the first product of the step, when the net is not to be trained.
                patch.setattr(nn.Linear, "forward", cut_off)
                return Tape.record(self, work)

    _, _, said = both(tmp_path, Cut(RuntimeError()), step=half_done)
    assert len(said) == 1


@pytest.mark.parametrize("error", [ValueError("theirs"), Diverged("theirs"), KeyboardInterrupt()])
def test_any_other_error_is_raised(tmp_path: Path, error):
    with pytest.raises(type(error)):
        train(Small(), tmp_path, lambda device: Broken(error))


def test_an_error_of_the_step_itself_is_raised(tmp_path: Path):
    def wrong(model, batch, weight):
        if len(model.made) == 3:
            raise RuntimeError("theirs")
        return Small.plain_step(model, batch, weight)

    with pytest.raises(RuntimeError, match="theirs"):
        train(Small(step=wrong), tmp_path, lambda device: Tape())


def test_a_device_that_is_lost_is_said_with_the_way_on(tmp_path: Path):
    class Lost(Broken):
        def abandon(self) -> None:
            raise RuntimeError("an illegal memory access")

    with pytest.raises(UsageError) as raised:
        train(Small(), tmp_path, lambda device: Lost(RuntimeError("first")))
    assert "first" in raised.value.what and "EBBENCH_CAPTURE=0" in raised.value.fix


def counts(model: Small, batch, weight):
    model.count = getattr(model, "count", 0) + 1
    return Small.plain_step(model, batch, weight * (1 + model.count % 2))


def throws_dice(model: Small, batch, weight):
    return Small.plain_step(model, batch, weight * random.random())


@pytest.mark.parametrize(("step", "why"), [(counts, "it changes 'count' of Small"), (throws_dice, "random")])
def test_what_a_graph_would_not_do_again_is_noticed(tmp_path: Path, step, why: str):
    tape = Tape()
    _, _, said = both(tmp_path, tape, step=step)
    assert tape.replays == 0 and len(said) == 1 and why in said[0]


def test_a_divergence_is_noticed(tmp_path: Path):
    tape = Tape()
    model = Small(400, between=lambda model, number, batch: batch * (float("nan") if number == 50 else 1.0))
    with pytest.raises(Diverged, match="'loss' is nan"):
        train(model, tmp_path, lambda device: tape)
    assert tape.replays in (48, 49)


@pytest.mark.parametrize("graphs", [(True, True), (True, False), (False, True)])
def test_stopped_and_resumed_it_is_the_same(tmp_path: Path, graphs):
    whole = Small(30)
    train(whole, tmp_path / "whole", no_graph)

    class After(StopRequest):
        """Asks to stop at step 14."""

        @property
        def asked(self) -> bool:
            return len(first.made) == 14

    first, second = Small(30), Small(30)
    which = [(lambda device: Tape()) if taped else no_graph for taped in graphs]
    stop = After()
    stop.signal = signal.SIGTERM
    with pytest.raises(Stopped):
        train(first, tmp_path / "parts", which[0], stop)
    saved = state.load(tmp_path / "parts" / "checkpoint.json")
    group = saved["model"]["opt"]["param_groups"][0]
    # What a run without a graph has: numbers and no flag.
    assert group["lr"] == taping.RATE and group["capturable"] is False
    assert saved["as_graph"] is graphs[0]
    run = train(second, tmp_path / "parts", which[1])
    assert run.as_graph
    assert apart(whole.state_dict(), second.state_dict()) == 0.0


def test_an_optimiser_is_made_fit_for_a_graph_and_put_back():
    # Not of float32, so that a rate that nobody changed can be told from its rounded self.
    model = Small(optimiser=lambda parameters: torch.optim.RMSprop(parameters, 0.1))
    model.opt = model._optimiser(model.net.parameters())
    Small.plain_step(model, torch.zeros(8, 2), 1.0)
    (group,) = model.opt.param_groups
    before = model.opt.state_dict()
    made = Rates(model, CPU)
    assert group["capturable"] and group["lr"].dtype == torch.float32 and group["lr"].dim() == 0
    assert all(entry["step"].dtype == torch.float32 for entry in model.opt.state.values())
    assert model.opt.state_dict()["param_groups"] == before["param_groups"]
    assert not made.follow() and group["capturable"]
    group["lr"].fill_(0.25)
    assert model.opt.state_dict()["param_groups"][0]["lr"] == 0.25
    made.put_back()
    assert group["lr"] == 0.25 and group["capturable"] is False
    assert model.opt.state_dict()["param_groups"][0]["lr"] == 0.25
    model.opt.load_state_dict(before)
    again = Rates(model, CPU)
    model.opt.load_state_dict(before)
    assert "loaded anew" in again.follow()


def test_evaluations_in_between_change_nothing(tmp_path: Path):
    def look(model: Small):
        def evaluate(step: int):
            modes = [m.training for m in model.net.modules()]
            model.net.eval()
            seeds.seed_everything(step)
            value = model.net(torch.randn(8, 2)).mean().item()
            for module, mode in zip(model.net.modules(), modes, strict=True):
                module.training = mode
            return {"value": value}

        return evaluate

    plain, taped, tape = Small(80), Small(80), Tape()
    one = train(plain, tmp_path / "plain", no_graph, evaluate=look(plain))
    other = train(taped, tmp_path / "taped", lambda device: tape, evaluate=look(taped))
    assert apart(plain.state_dict(), taped.state_dict()) == 0.0
    assert one.evaluations.series == other.evaluations.series and len(one.evaluations.step) == 4
    assert tape.replays == 77


def test_two_loops_have_a_graph_each(tmp_path: Path):
    class Twice(Small):
        def train(self, data, run) -> None:
            self.opt = self._optimiser(self.net.parameters())
            for _ in range(2):
                step = run.captured(self._step)
                for batch in run.batches(data, size=8, steps=6):
                    run.log(**step(batch, 1.0))

    plain, taped = Twice(), Twice()
    train(plain, tmp_path / "plain", no_graph)
    tapes: list[Tape] = []
    train(taped, tmp_path / "taped", lambda device: tapes.append(Tape()) or tapes[-1])
    assert apart(plain.net.state_dict(), taped.net.state_dict()) == 0.0
    assert [tape.replays for tape in tapes] == [3, 3]
    group = taped.opt.state_dict()["param_groups"][0]
    assert group["lr"] == taping.RATE and group["capturable"] is False


def test_only_a_gpu_has_a_graph_and_a_user_may_want_none(monkeypatch):
    assert capture.graph_for(CPU) is None
    monkeypatch.setenv("EBBENCH_CAPTURE", "0")
    assert capture.graph_for(torch.device("cuda")) is None
    monkeypatch.setenv("EBBENCH_CAPTURE", "1")
    monkeypatch.setattr(capture, "CudaGraph", lambda device: device)
    assert capture.graph_for(torch.device("cuda")) == torch.device("cuda")


@pytest.mark.medium
def test_a_result_says_whether_its_steps_were_a_graph(cli, tmp_path: Path, monkeypatch):
    taping.in_float32(monkeypatch)
    words = ["run", "--task", "toy2d", "--set", "law=8gaussians", "--model", "wgan-gp", "--budget", "smoke"]
    words += ["--seeds", "0", "--quiet", "--set", "steps=20", "--set", f"lr={taping.RATE}"]
    assert cli(*words, "--results", "plain").code == 0
    monkeypatch.setattr(capture, "graph_for", Tape)
    assert cli(*words, "--results", "taped", "--force").code == 0
    (plain,), (taped,) = (resultfiles.load_all(tmp_path / name)[0] for name in ("plain", "taped"))
    assert taped.training.as_graph and not plain.training.as_graph
    assert taped.metrics == plain.metrics
    (written,) = (tmp_path / "plain").rglob("*.json")
    # As every result of before there were graphs.
    assert "as_graph" not in written.read_text()
