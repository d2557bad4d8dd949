"""A captured training step on a GPU, where there is one: against the step as it is, and through stops."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import taping
from ebbench.device import pinned
from ebbench.errors import Stopped
from ebbench.plugins import introspection
from ebbench.running import capture, seeds
from ebbench.running.signals import StopRequest
from taping import METHODS, apart, built, no_graph, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
GPU = torch.device("cuda")
STEPS = 200
# cuBLAS sums in one order only with a workspace of its own a stream; it is read when cuBLAS begins.
if torch.cuda.is_available():
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@pytest.fixture(autouse=True)
def one_order(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Kernels that sum in one order, and rates that float32 has."""
    taping.in_float32(monkeypatch)
    with pinned():
        yield


def noise(method: str, folder: Path) -> tuple[dict, float]:
    """The state of an eager training, and how far a second one of the same seed ends from it."""
    states = []
    for turn in ("one", "two"):
        model = built(method, STEPS, GPU)
        train(model, folder / turn, no_graph)
        states.append(model.state_dict())
    return states[0], apart(*states)


@pytest.mark.parametrize("method", METHODS)
def test_two_hundred_steps_are_as_equal_as_two_eager_trainings_are(tmp_path: Path, method: str):
    # Zero where no kernel of the method adds in a changing order: then the graph must give every bit. Where
    # one does, two eager trainings differ too, and a graph may differ as they do. Ten times, since one pair
    # says no more than an order of magnitude.
    eager, gap = noise(method, tmp_path)
    random = torch.cuda.get_rng_state()
    model = built(method, STEPS, GPU)
    run = train(model, tmp_path / "graph", capture.graph_for)
    assert run.as_graph
    assert apart(eager, model.state_dict()) <= 10 * gap
    assert torch.equal(random, torch.cuda.get_rng_state())


@pytest.mark.parametrize("graphs", [(True, True), (True, False), (False, True)])
def test_stopped_and_resumed_it_is_the_same(tmp_path: Path, graphs):
    eager, gap = noise("wgan-gp", tmp_path)
    stop, which = StopRequest(), [capture.graph_for if graph else no_graph for graph in graphs]

    def at_128(step: int) -> dict[str, float]:
        stop.signal = signal.SIGTERM if step == 128 else None
        return {}

    with pytest.raises(Stopped):
        train(built("wgan-gp", STEPS, GPU), tmp_path / "parts", which[0], stop, evaluate=at_128)
    model = built("wgan-gp", STEPS, GPU)
    run = train(model, tmp_path / "parts", which[1])
    assert run.as_graph
    assert apart(eager, model.state_dict()) <= 10 * gap


def test_evaluations_in_between_change_nothing(tmp_path: Path):
    eager, gap = noise("meg, all terms", tmp_path)
    model = built("meg, all terms", STEPS, GPU)

    def look(step: int) -> dict[str, float]:
        nets = introspection.nets(model).values()
        modes = {module: module.training for net in nets for module in net.modules()}
        for net in nets:
            net.eval()
        seeds.seed_everything(step)
        value = model.energy_of(model.sample(8)).mean().item()
        for module, mode in modes.items():
            module.training = mode
        return {"value": value}

    run = train(model, tmp_path / "graph", capture.graph_for, evaluate=look)
    assert run.as_graph and len(run.evaluations.step) > 2
    assert apart(eager, model.state_dict()) <= 10 * gap


def test_a_step_that_waits_for_a_value_runs_as_it_is(tmp_path: Path):
    model, said = built("sngan", 20, GPU), []
    plain = model._step

    def waits(batch):
        made = plain(batch)
        return made | {"twice": made["loss_D"] * made["loss_D"].detach().item()}

    model._step = waits
    reporter = taping.Reporter()
    reporter.note = said.append
    run = train(model, tmp_path, capture.graph_for, reporter=reporter)
    assert not run.as_graph and run.steps == 20
    assert len([line for line in said if "runs without a CUDA graph" in line]) == 1
    assert torch.isfinite(torch.rand(3, device=GPU)).all()
