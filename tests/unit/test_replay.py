"""A scoring recorded, and made again from the record to the bit, without the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ebbench.contract import DataSpec, Model, score
from ebbench.errors import ContractError
from ebbench.plugins.cards import ModelCard
from ebbench.plugins.plugin import Plugin
from ebbench.running.chunks import Chunks
from ebbench.running.replay import ArraySource, Recording
from ebbench.running.scoring import Scoring
from ebbench.running.sources import ModelSource

IMAGES = DataSpec(name="images", shape=(1, 2, 2), low=-1.0, high=1.0)
POINTS = DataSpec(name="points", shape=(2,))


class Scored(Model):
    def sample(self, n: int) -> torch.Tensor:
        return torch.rand(n, *self.data.shape) * 2 - 1

    def energy(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1).double().sum(1) / 3

    @score("norm")
    def norm(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1).norm(dim=1)


def recorded(
    folder: Path,
    spec: DataSpec,
    arrays: dict[str, np.ndarray],
    *,
    model: Model | None = None,
    part: str = "",
    samples: Path | None = None,
) -> Recording:
    """A scoring of a model that draws evenly, whose samples and scores are kept in `arrays`."""
    plugin = Plugin("model", folder)
    vars(plugin)["card"] = ModelCard(name="odd", title="Odd")
    source = ModelSource(
        model or Scored(spec, None), plugin, spec, seed=0, device=torch.device("cpu"), sampler="generator"
    )
    chunks = Chunks(folder)
    scoring = Scoring(source, spec, chunks, seed=0, device=torch.device("cpu"), images=samples)
    return Recording(scoring, spec, arrays, part)


def replayed(spec: DataSpec, arrays: dict[str, np.ndarray], part: str = "", **options: Any) -> Scoring:
    source = ArraySource(arrays, spec, where="x.npz", part=part, **options)
    return Scoring(source, spec, seed=0, device=torch.device("cpu"))


def asked(scoring: Any, spec: DataSpec, chunk: int = 10) -> list[np.ndarray]:
    """What a task would get: two draws, and two questions for scores."""
    x = torch.linspace(-1, 1, 12 * 4).view(12, -1)[:, : int(np.prod(spec.shape))].reshape(12, *spec.shape)
    first = scoring.samples(25, lambda x: {"x": x.numpy()}, chunk=chunk)["x"]
    sheet = scoring.samples(4, lambda x: {"x": x.numpy()}, name="sheet")["x"]
    both, only = scoring.scores(x), scoring.scores(x / 2, only=("norm",))
    return [first, sheet, both["energy"], both["norm"], only["norm"]]


@pytest.mark.parametrize("spec", [IMAGES, POINTS])
@pytest.mark.parametrize("part", ["", "digit 3"])
def test_a_replayed_scoring_gives_the_task_the_same_to_the_bit(tmp_path: Path, spec: DataSpec, part: str):
    arrays: dict[str, np.ndarray] = {}
    given = asked(recorded(tmp_path, spec, arrays, part=part), spec)
    prefix = f"{part}/" if part else ""
    assert set(arrays) == {
        f"{prefix}{name}"
        for name in ("samples.samples", "samples.sheet", "scores.0.energy", "scores.0.norm", "scores.1.norm")
    }
    kinds = {array.dtype for name, array in arrays.items() if "samples" in name}
    assert kinds == {np.dtype(np.uint8 if spec is IMAGES else np.float32)}
    # No model is there to be asked.
    again = asked(replayed(spec, arrays, part), spec, chunk=7)
    for one, other in zip(given, again, strict=True):
        assert one.dtype == other.dtype and (one == other).all()


def test_images_are_recorded_as_they_are_kept(tmp_path: Path):
    arrays: dict[str, np.ndarray] = {}

    def mean(pixels: torch.Tensor) -> dict[str, np.ndarray]:
        return {"mean": pixels.float().mean((1, 2, 3)).numpy()}

    drawn = recorded(tmp_path, IMAGES, arrays).images(25, mean, chunk=10)
    assert (arrays["samples.samples"] == drawn["images"]).all()
    again = replayed(IMAGES, arrays).images(25, mean, chunk=10)
    assert (again["images"] == drawn["images"]).all() and (again["mean"] == drawn["mean"]).all()


def test_images_that_an_earlier_score_kept_are_recorded_too(tmp_path: Path):
    kept = tmp_path / "kept"
    arrays: dict[str, np.ndarray] = {}
    first, second = (
        recorded(tmp_path / name, IMAGES, found, samples=kept).images(25, lambda x: {}, chunk=10)
        for name, found in (("a", {}), ("b", arrays))
    )
    assert (first["images"] == second["images"]).all()
    assert (arrays["samples.samples"] == first["images"]).all()


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("samples.samples", np.zeros((24, 1, 2, 2), np.uint8), "holds 24 samples"),
        ("samples.samples", np.zeros((25, 1, 2, 2), np.float32), "is float32"),
        ("samples.samples", np.zeros((25, 1, 2, 3), np.uint8), "is uint8"),
        ("samples.samples", None, "no array 'samples.samples'"),
        ("scores.0.energy", np.full(12, np.nan, np.float32), "scores.0.energy"),
        ("scores.0.energy", np.zeros(11, np.float32), "scores.0.energy"),
        ("scores.0.energy", np.zeros(12), "is float64"),
        ("scores.1.norm", None, "no scores 'scores.1.norm'"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path: Path, name: str, array: Any, said: str):
    arrays: dict[str, np.ndarray] = {}
    asked(recorded(tmp_path, IMAGES, arrays), IMAGES)
    if array is None:
        del arrays[name]
    else:
        arrays[name] = array
    with pytest.raises(ContractError, match=said):
        asked(replayed(IMAGES, arrays), IMAGES)


def test_a_recording_that_was_stopped_goes_on_and_misses_nothing(tmp_path: Path):
    class Stops(Scored):
        left = 2

        def sample(self, n: int) -> torch.Tensor:
            Stops.left -= 1
            if Stops.left < 0:
                raise KeyboardInterrupt
            return super().sample(n)

    whole: dict[str, np.ndarray] = {}
    recorded(tmp_path / "whole", POINTS, whole).samples(30, lambda x: {}, chunk=10)
    with pytest.raises(KeyboardInterrupt):
        recorded(tmp_path / "b", POINTS, {}, model=Stops(POINTS, None)).samples(30, lambda x: {}, chunk=10)
    arrays: dict[str, np.ndarray] = {}
    recorded(tmp_path / "b", POINTS, arrays).samples(30, lambda x: {}, chunk=10)
    assert (arrays["samples.samples"] == whole["samples.samples"]).all()


def test_what_the_task_does_to_samples_does_not_reach_the_record(tmp_path: Path):
    arrays: dict[str, np.ndarray] = {}
    recorded(tmp_path, POINTS, arrays).samples(30, lambda x: {"x": x.zero_().numpy()}, chunk=10)
    assert len(np.unique(arrays["samples.samples"])) == 60


def test_floats_are_taken_for_images_where_they_may_be(tmp_path: Path):
    floats = {"samples.samples": np.linspace(-1, 1, 100, dtype=np.float32).reshape(25, 1, 2, 2)}
    made = replayed(IMAGES, floats, floats=True).samples(25, lambda x: {"x": x.numpy()}, chunk=10)["x"]
    assert (made == floats["samples.samples"]).all()
    too_high = {"samples.samples": floats["samples.samples"] * 2}
    with pytest.raises(ContractError, match=r"the samples lie in \[-2, "):
        replayed(IMAGES, too_high, floats=True).samples(25, lambda x: {}, chunk=25)
