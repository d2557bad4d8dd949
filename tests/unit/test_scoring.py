"""Scoring: chunks that resume, and samples that are checked before they count."""

from __future__ import annotations

import math
import random
import signal
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from ebbench.contract import DataSpec, Model
from ebbench.errors import ContractError, PluginCrash, Stopped, StorageError
from ebbench.running import scoring as scoring_module
from ebbench.running.scoring import Scoring
from ebbench.running.signals import StopRequest
from ebbench.running.sources import ModelSource
from scorings import SPEC, Scored, keep, plugin, scored, scoring


def test_every_sample_is_drawn_once_in_order(tmp_path: Path):
    sizes: list[int] = []

    def draw(n: int) -> torch.Tensor:
        sizes.append(n)
        return torch.rand(n, 2)

    drawn = scoring(tmp_path, draw).samples(25, keep, chunk=10)
    assert sizes == [10, 10, 5]
    assert drawn["x"].shape == (25, 2) and np.allclose(drawn["x"].sum(1), drawn["sum"])
    assert len(np.unique(drawn["x"])) == 50, "each chunk has random numbers of its own"


def test_a_stopped_scoring_goes_on_and_gives_the_same(tmp_path: Path):
    whole = scoring(tmp_path / "whole").samples(30, keep, chunk=10)
    stops = 0
    while True:
        stop = StopRequest()
        stop.signal = signal.SIGTERM
        attempt = scoring(tmp_path / "parts", stop=stop)
        try:
            parts = attempt.samples(30, keep, chunk=10)
        except Stopped as stopped:
            stops += 1
            assert "drawn and kept" in str(stopped)
            continue
        break
    assert stops == 3 and attempt.drawn == 0
    assert (parts["x"] == whole["x"]).all()


def test_two_draws_have_two_names(tmp_path: Path):
    one = scoring(tmp_path)
    one.samples(5, keep)
    one.samples(5, keep, name="more")
    with pytest.raises(ContractError, match="twice under the name 'samples'"):
        one.samples(20, keep)


def test_the_seed_and_the_name_choose_the_samples(tmp_path: Path):
    def first(folder: str, **words) -> float:
        seed = words.pop("seed", 0)
        return float(scoring(tmp_path / folder, seed=seed).samples(4, keep, **words)["x"][0, 0])

    assert first("a") == first("b")
    assert len({first("c"), first("d", seed=1), first("e", name="other")}) == 3


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda n: torch.zeros(n, 3), r"\(4, 3\)"),
        (lambda n: torch.zeros(n + 1, 2), r"\(5, 2\)"),
        (lambda n: np.zeros((n, 2)), "ndarray"),
        (lambda n: torch.zeros(n, 2, dtype=torch.uint8), "uint8"),
        (lambda n: torch.full((n, 2), torch.nan), "NaN or infinite"),
        (lambda n: torch.full((n, 2), torch.inf), "NaN or infinite"),
        (lambda n: torch.full((n, 2), 1.001), "1.001"),
        (lambda n: torch.full((n, 2), -2.0), "-2"),
    ],
)
def test_samples_that_break_the_contract_are_named(tmp_path: Path, made, said):
    with pytest.raises(ContractError, match=said):
        scoring(tmp_path, made).samples(4, keep)


def test_a_rounding_beyond_the_range_is_clamped_and_no_range_is_no_limit(tmp_path: Path):
    drawn = scoring(tmp_path / "a", lambda n: torch.full((n, 2), 1.0 + 1e-6)).samples(3, keep)
    assert drawn["x"].max() == 1.0
    free = DataSpec(name="x", shape=(2,))
    drawn = scoring(tmp_path / "b", lambda n: torch.full((n, 2), 1e6), spec=free).samples(3, keep)
    assert drawn["x"].min() == 1e6


def test_memory_does_not_grow_with_the_samples(tmp_path: Path):
    # A megabyte a chunk, of which four bytes are kept: no more than a few chunks live at a time.
    wide = DataSpec(name="x", shape=(256_000,))
    chunks: list[weakref.ref[np.ndarray]] = []
    most = 0

    def draw(n: int) -> torch.Tensor:
        nonlocal most
        # Whoever keeps the tensor, or a view of it, keeps the array.
        array = np.zeros((n, 256_000), np.float32)
        chunks.append(weakref.ref(array))
        most = max(most, sum(chunk() is not None for chunk in chunks))
        return torch.from_numpy(array)

    drawn = scoring(tmp_path, draw, spec=wide).samples(
        200, lambda x: {"first": x[:, 0].numpy().copy()}, chunk=1
    )
    assert drawn["first"].shape == (200,) and most <= 3


def test_a_store_that_refuses_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="could not be written"):
        scoring(tmp_path / "file" / "scores").samples(3, keep)


def test_pictures_are_checked(tmp_path: Path):
    attempt = scoring(tmp_path)
    attempt.picture("samples", np.zeros((4, 4, 3), dtype=np.uint8))
    with pytest.raises(ContractError, match="float64"):
        attempt.picture("samples", np.zeros((4, 4, 3)))


IMAGE = DataSpec(name="image", shape=(1, 2, 2), low=-1.0, high=1.0)


@pytest.mark.parametrize(
    "damage",
    [
        {"images": np.zeros((13, 1, 2, 2), np.uint8)},
        {"images": np.zeros((26, 1, 2, 2), np.uint8)},
        {"images": np.full((25, 1, 2, 2), np.nan)},
        {"images": np.zeros((25, 2, 2, 1), np.uint8)},
        {"drawn": None},
        b"no npz file",
    ],
)
def test_kept_images_that_are_damaged_are_drawn_again(tmp_path: Path, damage):
    def shade(pixels: torch.Tensor) -> dict[str, np.ndarray]:
        return {"mean": pixels.float().mean((1, 2, 3)).numpy()}

    def images(folder: str) -> dict[str, np.ndarray]:
        made = scoring(
            tmp_path / folder, lambda n: torch.rand(n, 1, 2, 2), spec=IMAGE, samples=tmp_path / "kept"
        )
        return made.images(25, shade, chunk=10)

    whole = images("one")
    (path,) = tmp_path.glob("kept*.npz")
    if isinstance(damage, bytes):
        path.write_bytes(damage)
    else:
        with np.load(path) as stored:
            arrays = dict(stored) | damage
        np.savez(path, **{name: values for name, values in arrays.items() if values is not None})
    assert (images("two")["mean"] == whole["mean"]).all()
    with np.load(path) as stored:
        assert (stored["images"] == whole["images"]).all()


def test_what_was_drawn_on_a_shared_gpu_has_no_timing(tmp_path: Path, monkeypatch):
    def drawn(folder: str) -> Scoring:
        made = scoring(
            tmp_path / folder, lambda n: torch.rand(n, 1, 2, 2), spec=IMAGE, samples=tmp_path / "kept"
        )
        made.images(25, lambda pixels: {}, chunk=10)
        return made

    monkeypatch.setattr(scoring_module, "shared_gpu", lambda device: True)
    assert math.isnan(drawn("one").drawing_seconds)
    # Nor has it one where the kept samples are scored again, alone.
    monkeypatch.setattr(scoring_module, "shared_gpu", lambda device: False)
    assert math.isnan(drawn("two").drawing_seconds)


def test_images_are_kept_and_not_drawn_again(tmp_path: Path):
    def draw(n: int) -> torch.Tensor:
        return torch.rand(n, 1, 2, 2) * 2 - 1

    def never(n: int) -> torch.Tensor:
        raise AssertionError("drawn again")

    seen: list[torch.Tensor] = []

    def brightness(pixels: torch.Tensor) -> dict[str, np.ndarray]:
        assert pixels.dtype == torch.uint8
        seen.append(pixels)
        return {"mean": pixels.float().mean((1, 2, 3)).numpy()}

    kept = tmp_path / "samples" / "draw"
    first = scoring(tmp_path / "one", draw, spec=IMAGE, samples=kept)
    drawn = first.images(25, brightness, chunk=10)
    assert drawn["images"].shape == (25, 1, 2, 2)
    assert np.allclose(drawn["mean"], drawn["images"].mean((1, 2, 3)))
    again = scoring(tmp_path / "two", never, spec=IMAGE, samples=kept)
    same = again.images(25, brightness, chunk=10)
    assert (same["images"] == drawn["images"]).all() and (same["mean"] == drawn["mean"]).all()
    assert again.drawn == first.drawn == 25 and again.drawing_seconds == first.drawing_seconds
    with pytest.raises(PluginCrash, match="drawn again"):
        scoring(tmp_path / "three", never, spec=IMAGE, samples=kept).images(26, brightness, chunk=10)
    # The nearest of 256 levels, both ends of the range being one.
    ends = scoring(tmp_path / "four", lambda n: torch.full((n, 1, 2, 2), 1.0), spec=IMAGE)
    assert (ends.images(3, brightness)["images"] == 255).all()


def seeded(n: int) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.rand(n, 2)


def seeded_numpy(n: int) -> torch.Tensor:
    np.random.seed(7)
    return torch.from_numpy(np.random.rand(n, 2)).float()


def seeded_python(n: int) -> torch.Tensor:
    random.seed("x")
    return torch.tensor([[random.random(), 0.0] for _ in range(n)])


def own_generator(n: int) -> torch.Tensor:
    return torch.rand(n, 2, generator=torch.Generator().manual_seed(3))


NOISE = torch.rand(100, 2)


@pytest.mark.parametrize("chunk", [10, 1])
@pytest.mark.parametrize("draw", [seeded, seeded_numpy, seeded_python])
def test_a_sampler_that_seeds_itself_is_found(tmp_path: Path, draw, chunk: int):
    with pytest.raises(ContractError, match="the sampler seeds itself"):
        scoring(tmp_path, draw).samples(30, keep, chunk=chunk)


@pytest.mark.parametrize("draw", [own_generator, lambda n: NOISE[:n]])
def test_a_noise_that_is_always_the_same_is_found(tmp_path: Path, draw):
    with pytest.raises(ContractError, match="hold the same 10 samples"):
        scoring(tmp_path, draw).samples(30, keep, chunk=10)


@pytest.mark.parametrize("chunk", [10, 1])
@pytest.mark.parametrize(
    "draw",
    [
        lambda n: torch.zeros(n, 2),
        lambda n: NOISE[:1].repeat(n, 1) + 0 * torch.rand(n, 1),
        # Of three samples at times ten are the same as before, by chance.
        lambda n: (torch.rand(n, 2) < 0.02).float(),
    ],
    ids=["one constant", "collapsed", "nearly collapsed"],
)
def test_what_collapsed_or_is_constant_may_repeat(tmp_path: Path, draw, chunk: int):
    assert len(scoring(tmp_path, draw).samples(300, keep, chunk=chunk)["x"]) == 300


def test_a_seed_that_is_put_back_is_nobodys_business(tmp_path: Path):
    def draw(n: int) -> torch.Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            shift = torch.rand(2) / 2
        return torch.rand(n, 2) / 2 + shift

    assert len(np.unique(scoring(tmp_path, draw).samples(30, keep, chunk=10)["x"])) == 60


def test_a_score_that_draws_is_the_same_whatever_went_before(tmp_path: Path):
    class Noisy(Model):
        def energy(self, x):
            return x.sum(1) + torch.rand(len(x))

    def asked() -> np.ndarray:
        return scored(tmp_path, Noisy(SPEC, None)).scores(torch.ones(25, 2), chunk=10)["energy"]

    torch.manual_seed(1)
    first = asked()
    torch.manual_seed(2)
    assert (asked() == first).all()
    assert len(np.unique(first)) == 25


def test_a_score_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(ContractError, match="the score nonsense") as error:
        scored(tmp_path, Scored(SPEC, None)).scores(torch.rand(5, 2), only=("nonsense",))
    assert "gradient_norm" in error.value.expected


def test_a_model_without_a_sampler_is_named(tmp_path: Path):
    source = ModelSource(Scored(SPEC, None), plugin(tmp_path), SPEC, seed=0, device=torch.device("cpu"))
    with pytest.raises(ContractError, match="no sampler"):
        Scoring(source, SPEC, seed=0, device=torch.device("cpu")).samples(5, keep)


def test_what_reduce_does_to_images_does_not_reach_those_that_are_kept(tmp_path: Path):
    def darkened(pixels: torch.Tensor) -> dict[str, np.ndarray]:
        pixels.zero_()
        return {}

    def images(folder: str, kept: Path) -> np.ndarray:
        made = scoring(tmp_path / folder, lambda n: torch.rand(n, 1, 2, 2), spec=IMAGE, samples=kept)
        return made.images(25, darkened, chunk=10)["images"]

    first = images("one", tmp_path / "kept")
    assert first.any()
    assert (images("two", tmp_path / "kept") == first).all()
