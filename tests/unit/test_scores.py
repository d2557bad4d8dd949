"""Scores of examples: checked, taken once, and apart from the task's own examples."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from ebbench.contract import Model, score
from ebbench.errors import ContractError, PluginCrash, Stopped
from ebbench.running import scoring as scoring_module
from ebbench.running.signals import StopRequest, stop_on_signals
from scorings import SPEC, Scored, keep, scored, scoring


def test_every_score_is_evaluated_in_parts_and_the_bound_is_turned(tmp_path: Path):
    x = torch.rand(25, 2)
    made = scored(tmp_path, Scored(SPEC, None)).scores(x, chunk=10)
    assert set(made) == {"energy", "gradient_norm", "log_likelihood_bound"}
    assert made["energy"].dtype == np.float64
    assert np.allclose(made["energy"], x.sum(1))
    assert np.allclose(made["gradient_norm"], x.square().sum(1))
    assert np.allclose(made["log_likelihood_bound"], x.sum(1)), "lower is more typical"


def test_scores_that_take_long_are_taken_once(tmp_path: Path, monkeypatch):
    asked: list[torch.Tensor] = []

    class Asked(Model):
        def energy(self, x):
            asked.extend(x)
            return x.sum(1)

    def answers(folder: str, x: torch.Tensor, stop: StopRequest | None = None) -> list[np.ndarray]:
        made = scoring(tmp_path / folder, stop=stop, model=Asked(SPEC, None))
        return [made.scores(part, chunk=10)["energy"] for part in (x, -x)]

    x = torch.rand(25, 2)
    whole = answers("quick", x)
    assert not (tmp_path / "quick").exists(), "what is quick costs no file"
    monkeypatch.setattr(scoring_module, "LONG", -1.0)
    asked.clear()
    stops = []
    # Six chunks, each followed by a stop.
    for _ in range(6):
        with pytest.raises(Stopped) as stopped:
            stop = StopRequest()
            stop.signal = signal.SIGTERM
            answers("slow", x, stop)
        stops.append(str(stopped.value))
    assert [text.partition(": ")[2].split(" ex")[0] for text in stops] == 2 * [
        "10 of 25",
        "20 of 25",
        "25 of 25",
    ]
    for again, once in zip(answers("slow", x), whole, strict=True):
        assert (again == once).all()
    assert torch.equal(torch.stack(asked), torch.cat([x, -x]))
    # What was kept for another question is none of this one's.
    assert np.allclose(answers("slow", x[:15])[0], x[:15].sum(1))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda x: x.sum(1)[:-1], r"shape \(9,\)"),
        (lambda x: x, r"shape \(10, 2\)"),
        (lambda x: x.sum(1) / 0, "10 of 10 scores are NaN or infinite"),
        (lambda x: x.sum(1) > 1, "bool tensor"),
        (lambda x: [0.0] * len(x), "the scores are a list"),
    ],
    ids=["too few", "too many axes", "infinite", "no floats", "no tensor"],
)
def test_scores_that_are_none_are_refused_by_name(tmp_path: Path, wrong, message):
    class Wrong(Scored):
        def energy(self, x):
            return wrong(x)

    with pytest.raises(ContractError, match=message) as error:
        scored(tmp_path, Wrong(SPEC, None)).scores(torch.rand(10, 2))
    assert "score 'energy'" in error.value.where and "(10,)" in error.value.expected


def test_a_score_that_raises_is_named(tmp_path: Path):
    class Wrong(Scored):
        def energy(self, x):
            raise ValueError("no")

    with pytest.raises(PluginCrash, match=r"energy\(\) of model 'odd' raised ValueError: no"):
        scored(tmp_path, Wrong(SPEC, None)).scores(torch.rand(10, 2))


def test_a_stop_in_the_midst_of_a_draw_or_a_score_is_a_stop(tmp_path: Path):
    """A signal that comes where nothing looks for it is raised inside the model's own code."""

    class Long(Scored):
        def energy(self, x):
            os.kill(os.getpid(), signal.SIGTERM)
            return super().energy(x)

    def draw(n: int) -> torch.Tensor:
        for _ in range(2):  # the second is obeyed at once
            os.kill(os.getpid(), signal.SIGINT)
        return torch.zeros(n, 2)

    with stop_on_signals(), pytest.raises(Stopped, match="SIGTERM"):
        scored(tmp_path, Long(SPEC, None)).scores(torch.rand(10, 2))
    with stop_on_signals() as stop, pytest.raises(Stopped, match="SIGINT"):
        scoring(tmp_path, draw, stop=stop).samples(4, keep)


def test_what_a_score_does_to_its_examples_does_not_reach_the_task(tmp_path: Path):
    class Inplace(Model):
        def energy(self, x):
            x -= 1
            return x.sum(1)

        @score("other")
        def other(self, x):
            x.zero_()
            return x.sum(1) + 1

    x = torch.rand(25, 2)
    before = x.clone()
    made = scored(tmp_path, Inplace(SPEC, None)).scores(x, chunk=10)
    assert torch.equal(x, before)
    assert np.allclose(made["energy"], (before - 1).sum(1)), "whatever the score before it did"


def test_what_a_model_gives_it_may_use_again(tmp_path: Path):
    """A model that fills one buffer over and over gives as many samples, and scores, as it filled in."""
    buffer = torch.zeros(10, 2)
    scores = torch.zeros(10, dtype=torch.float64)

    class Buffered(Model):
        def sample(self, n):
            return buffer[:n].uniform_(-1, 1)

        def energy(self, x):
            return torch.sum(x, 1, out=scores[: len(x)])

    seen: list[torch.Tensor] = []

    def first(x: torch.Tensor) -> dict[str, np.ndarray]:
        seen.append(x)
        x.mul_(1)
        return {"x": x.numpy()}

    made = scoring(tmp_path, model=Buffered(SPEC, None))
    assert len(np.unique(made.samples(30, first, chunk=10)["x"])) == 60
    assert all(x.untyped_storage().data_ptr() != buffer.untyped_storage().data_ptr() for x in seen)
    x = torch.rand(30, 2).double()
    assert np.allclose(made.scores(x, chunk=10)["energy"], x.sum(1))
