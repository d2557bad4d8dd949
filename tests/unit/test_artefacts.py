"""Artefacts: a scoring recorded, and made again from the record to the bit, without the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ebbench.contract import DataSpec, Model, score
from ebbench.errors import ContractError
from ebbench.running.artefacts import Recorded, Replayed
from ebbench.running.progress import Reporter
from ebbench.running.signals import StopRequest

IMAGES = DataSpec(name="images", shape=(1, 2, 2), low=-1.0, high=1.0)
POINTS = DataSpec(name="points", shape=(2,))


class Scored(Model):
    def energy(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1).double().sum(1) / 3

    @score("norm")
    def norm(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1).norm(dim=1)


def made(
    kind: Any,
    folder: Path,
    spec: DataSpec,
    arrays: dict[str, np.ndarray],
    *,
    model: Any = None,
    part: str = "",
    samples: Path | None = None,
):
    return kind(
        model or Model(spec, None),
        spec,
        folder,
        part=part,
        arrays=arrays,
        **({"where": "x.npz"} if kind is Replayed else {}),
        seed=0,
        device=torch.device("cpu"),
        sampler="generator",
        samples=samples,
        draw=lambda n: torch.rand(n, *spec.shape) * 2 - 1,
        plugin_folder=folder,
        stop=StopRequest(),
        reporter=Reporter(),
    )


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
    scored = Scored(spec, None)
    recorded = asked(made(Recorded, tmp_path / "a", spec, arrays, model=scored, part=part), spec)
    prefix = f"{part}/" if part else ""
    assert set(arrays) == {
        f"{prefix}{name}"
        for name in ("samples.samples", "samples.sheet", "scores.0.energy", "scores.0.norm", "scores.1.norm")
    }
    kinds = {array.dtype for name, array in arrays.items() if "samples" in name}
    assert kinds == {np.dtype(np.uint8 if spec is IMAGES else np.float32)}
    # No model is there to be asked.
    replayed = asked(made(Replayed, tmp_path / "b", spec, arrays, part=part), spec, chunk=7)
    for one, other in zip(recorded, replayed, strict=True):
        assert one.dtype == other.dtype and (one == other).all()


def test_images_are_recorded_as_they_are_kept(tmp_path: Path):
    arrays: dict[str, np.ndarray] = {}

    def mean(pixels: torch.Tensor) -> dict[str, np.ndarray]:
        return {"mean": pixels.float().mean((1, 2, 3)).numpy()}

    drawn = made(Recorded, tmp_path / "a", IMAGES, arrays).images(25, mean, chunk=10)
    assert (arrays["samples.samples"] == drawn["images"]).all()
    again = made(Replayed, tmp_path / "b", IMAGES, arrays).images(25, mean, chunk=10)
    assert (again["images"] == drawn["images"]).all() and (again["mean"] == drawn["mean"]).all()


def test_images_that_an_earlier_score_kept_are_recorded_too(tmp_path: Path):
    kept = tmp_path / "kept"
    arrays: dict[str, np.ndarray] = {}
    first, second = (
        made(Recorded, tmp_path / name, IMAGES, found, samples=kept).images(25, lambda x: {}, chunk=10)
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
    asked(made(Recorded, tmp_path / "a", IMAGES, arrays, model=Scored(IMAGES, None)), IMAGES)
    if array is None:
        del arrays[name]
    else:
        arrays[name] = array
    with pytest.raises(ContractError, match=said):
        asked(made(Replayed, tmp_path / "b", IMAGES, arrays), IMAGES)
