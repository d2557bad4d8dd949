"""Copies are told from sets that were drawn apart, by sketches alone."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from ebbench.submissions import copies

N = 3000


def modes(rng: np.random.Generator) -> np.ndarray:
    return (2 * rng.integers(-2, 3, (N, 2)) + 0.05 * rng.standard_normal((N, 2))).astype(np.float32)


def far_modes(rng: np.random.Generator) -> np.ndarray:
    """What a sampler makes that collapsed: two points, far from one another beside their width."""
    at = rng.integers(0, 2, (N, 1)) * np.ones((1, 2)) * 4
    return (at + 0.02 * rng.standard_normal((N, 2))).astype(np.float32)


def line(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((N, 1), dtype=np.float32)


def wide(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((N, 60), dtype=np.float32)


def images(rng: np.random.Generator) -> np.ndarray:
    smooth = rng.integers(0, 256, (N, 3, 7, 7)).repeat(4, 2).repeat(4, 3)
    return smooth.astype(np.uint8)


LAWS = [modes, far_modes, line, wide, images]


def said(one: np.ndarray, other: np.ndarray, name: str = "samples.samples") -> str:
    kept = [
        copies.from_json(json.loads(json.dumps(copies.as_json(copies.sketches({name: x})))))
        for x in (one, other)
    ]
    return copies.copied(*kept)


@pytest.mark.parametrize("law", LAWS)
def test_sets_that_were_drawn_apart_are_no_copies(law):
    rng = np.random.default_rng(0)
    made = [copies.sketches({"samples.samples": law(rng)}) for _ in range(12)]
    assert {copies.copied(a, b) for a, b in itertools.combinations(made, 2)} == {""}
    found = [copies.likeness(*(m["samples.samples"] for m in p)) for p in itertools.combinations(made, 2)]
    assert min(found) > 1.5 * copies.COPY, "by a margin"


@pytest.mark.parametrize("law", LAWS)
def test_another_order_and_the_last_bit_hide_nothing(law):
    rng = np.random.default_rng(1)
    first = law(rng)
    other = first[rng.permutation(N)]
    assert said(first, other) == "a copy"
    if other.dtype == np.float32:
        other = np.nextafter(other, np.float32(9))
    else:
        other = (other.astype(int) + rng.integers(-1, 2, other.shape)).clip(0, 255).astype(np.uint8)
    assert said(first, other) == "a copy"


@pytest.mark.parametrize("law", LAWS)
def test_a_part_of_the_rows_is_seen(law):
    rng = np.random.default_rng(2)
    first, other = law(rng), law(rng)
    other[: N * 6 // 10] = first[: N * 6 // 10]
    other = other[rng.permutation(N)]
    if other.dtype == np.float32:
        other = np.nextafter(other, np.float32(9))
    assert said(first, other).endswith("% of the rows")


def test_the_share_is_that_of_the_rows():
    rng = np.random.default_rng(3)
    first = wide(rng)
    found = []
    for share in (0.0, 0.4, 0.8):
        other = wide(rng)
        other[: int(share * N)] = first[: int(share * N)]
        found.append(copies.shared(copies.of_samples(first), copies.of_samples(other)))
    assert found == pytest.approx([0, 0.4, 0.8], abs=0.15)  # of 64 fingerprints


def test_a_set_of_a_few_rows_again_and_again_is_not_judged_by_its_rows():
    few = np.random.default_rng(4).integers(0, 256, (10, 1, 8, 8), dtype=np.uint8).repeat(10, 0)
    assert copies.of_samples(few).rows == []


def test_a_score_that_grows_with_another_is_a_copy():
    rng = np.random.default_rng(5)
    first = rng.standard_normal(N).astype(np.float32)
    for other in (first, 3 * first - 1, np.exp(first), np.nextafter(first, np.float32(9))):
        assert said(first, other, "scores.0.energy") == "a copy"
    # Two seeds of a method that is nearly settled by the data: 1 % of the spread apart.
    near = first + np.float32(0.01) * rng.standard_normal(N, dtype=np.float32)
    assert said(first, near, "scores.0.energy") == ""
    assert said(first, rng.standard_normal(N, dtype=np.float32), "scores.0.energy") == ""
    # Labels as scores, a constant: whoever gives them agrees with all who do.
    assert said(np.sign(first), np.sign(first), "scores.0.energy") == ""


def test_one_score_that_the_data_settle_is_no_copy():
    rng = np.random.default_rng(6)
    settled = rng.standard_normal(N).astype(np.float32)
    one, other = (
        copies.sketches({"scores.0.energy": rng.standard_normal(N), "scores.0.norm": settled})
        for _ in range(2)
    )
    assert copies.copied(one, other) == ""


def test_a_sketch_is_small_and_a_wrong_one_is_none():
    kept = copies.as_json(copies.sketches({"samples.samples": images(np.random.default_rng(7))}))
    assert len(json.dumps(kept)) < 6000
    for wrong in (None, 3, [1], {"samples.samples": {"n": -1}}, {"samples.samples": {"quantiles": "x"}}):
        assert copies.from_json(wrong) == {}
    good = copies.from_json(kept)
    for odd in ({"n": 5}, {"n": 5, "quantiles": [[1.0]]}, {"n": 5, "quantiles": [[1.0], [1.0, 2.0]]}):
        for name in ("samples.samples", "scores.0.energy"):
            other = copies.from_json({name: odd})
            assert copies.copied(good, other) == copies.copied(other, good) == ""
