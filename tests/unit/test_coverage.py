"""Mode coverage against brute force, against simulation, and in its limits."""

from __future__ import annotations

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from ebbench.metrics import coverage

# The shares of the ten digits among MNIST's 60,000 training images.
MNIST = [n / 60_000 for n in (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)]

digit_tuples = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 60), st.integers(1, 3)), elements=st.integers(0, 9)
)
some_counts = hnp.arrays(np.int64, st.integers(1, 30), elements=st.integers(0, 1000))


def dense_kl(digits: np.ndarray, reference: np.ndarray) -> float:
    """KL by a table of all 10^n modes; `reference` has n axes of 10."""
    table = np.zeros(reference.shape)
    for row in digits:
        table[tuple(row)] += 1
    p = table / table.sum()
    return float(stats.entropy(p.ravel(), reference.ravel()))


def product(frequencies: list[float], stacks: int) -> np.ndarray:
    table = np.ones(())
    for _ in range(stacks):
        table = np.multiply.outer(table, np.asarray(frequencies))
    return table


@given(digit_tuples)
def test_modes_and_digits_are_inverse(digits: np.ndarray) -> None:
    ids = coverage.mode_ids(digits)
    assert ids.dtype == np.int64
    np.testing.assert_array_equal(coverage.mode_digits(ids, digits.shape[1]), digits)
    assert ids[0] == int("".join(str(d) for d in digits[0]))


def test_modes_of_many_stacks_do_not_overflow() -> None:
    digits = np.full((1, 15), 9, dtype=np.uint8)
    assert coverage.mode_ids(digits)[0] == 10**15 - 1
    np.testing.assert_array_equal(coverage.mode_digits(coverage.mode_ids(digits), 15), digits)


@given(digit_tuples)
def test_both_divergences_agree_with_a_dense_table(digits: np.ndarray) -> None:
    stacks = digits.shape[1]
    ids, counts = np.unique(coverage.mode_ids(digits), return_counts=True)
    uniform = np.full((10,) * stacks, 10.0**-stacks)
    assert coverage.kl_to_uniform(counts, 10**stacks) == pytest.approx(dense_kl(digits, uniform), abs=1e-12)
    expected = dense_kl(digits, product(MNIST, stacks))
    assert coverage.kl_to_product(ids, counts, [MNIST] * stacks) == pytest.approx(expected, abs=1e-12)
    flat = [[0.1] * 10] * stacks
    assert coverage.kl_to_product(ids, counts, flat) == pytest.approx(
        coverage.kl_to_uniform(counts, 10**stacks), abs=1e-12
    )


@given(some_counts, st.randoms())
def test_the_divergence_is_not_negative_and_blind_to_order_and_empty_modes(counts, random) -> None:
    assume(counts.sum() > 0)
    kl = coverage.kl_to_uniform(counts, 30)
    assert 0 <= kl <= math.log(30) + 1e-12
    shuffled = list(counts)
    random.shuffle(shuffled)
    assert coverage.kl_to_uniform(np.array([*shuffled, 0, 0]), 30) == pytest.approx(kl, abs=1e-12)
    # Uneven counts are above zero by as much as Pinsker's inequality asks.
    share = np.pad(counts, (0, 30 - len(counts))) / counts.sum()
    assert kl >= np.abs(share - 1 / 30).sum() ** 2 / 2 - 1e-12


@given(st.integers(1, 10**6), st.integers(1, 500))
def test_even_counts_have_no_divergence(count: int, modes: int) -> None:
    assert coverage.kl_to_uniform(np.full(modes, count), modes) == pytest.approx(0, abs=1e-12)
    assert coverage.kl_to_uniform(np.array([count]), modes) == pytest.approx(math.log(modes))


def dense_floor(samples: int, cells: np.ndarray, reference: float) -> float:
    """The expectation by SciPy's binomial, every cell and every count on its own."""
    x = np.arange(1, samples + 1)
    terms = x / samples * np.log(x / (samples * reference))
    return float(sum(stats.binom.pmf(x, samples, p) @ terms for p in cells.ravel()))


@pytest.mark.parametrize(("samples", "stacks"), [(260, 1), (37, 1), (1, 1), (2600, 2), (100, 2)])
@pytest.mark.parametrize("frequencies", [MNIST, [0.1] * 10, [0.5, 0.5, *[0.0] * 8]])
def test_floors_agree_with_the_dense_sum(samples: int, stacks: int, frequencies: list[float]) -> None:
    modes = 10**stacks
    found = coverage.expected_kl_product(samples, frequencies, stacks)
    expected = dense_floor(samples, product(frequencies, stacks), 1 / modes)
    assert found == pytest.approx(expected, rel=1e-9)
    if frequencies == [0.1] * 10:
        assert coverage.expected_kl_uniform(samples, modes) == pytest.approx(expected, rel=1e-9)


def test_the_floor_of_few_samples_by_hand() -> None:
    # Two samples of two modes: both in one (ln 2) or one in each (0), with equal chances.
    assert coverage.expected_kl_uniform(2, 2) == pytest.approx(math.log(2) / 2)
    outcomes = [np.bincount(draw, minlength=3) for draw in itertools.product(range(3), repeat=4)]
    assert coverage.expected_kl_uniform(4, 3) == pytest.approx(
        np.mean([coverage.kl_to_uniform(counts, 3) for counts in outcomes])
    )
    assert coverage.expected_kl_uniform(10, 1) == 0


@pytest.mark.parametrize("stacks", [1, 2, 3])
def test_floor_and_deviation_agree_with_simulation(stacks: int) -> None:
    rng = np.random.default_rng(0)
    samples, modes, repeats = 26 * 10**stacks, 10**stacks, 300
    for cells, floor, deviation in (
        (
            product(MNIST, stacks).ravel(),
            coverage.expected_kl_product(samples, MNIST, stacks),
            coverage.deviation_of_kl(samples, MNIST, stacks),
        ),
        (
            np.full(modes, 1 / modes),
            coverage.expected_kl_uniform(samples, modes),
            coverage.deviation_of_kl(samples, [0.1] * 10, stacks),
        ),
    ):
        draws = rng.multinomial(samples, cells / cells.sum(), size=repeats)
        values = np.array([coverage.kl_to_uniform(counts, modes) for counts in draws])
        error = values.std() / math.sqrt(repeats)
        assert abs(values.mean() - floor) < 4 * error
        assert values.std() == pytest.approx(deviation, rel=0.25)


def test_the_floors_of_the_published_sizes() -> None:
    # Short simulations elsewhere gave .0195 and .0194 (uniform), .0242 and .0251 (MNIST's digits); one
    # such run deviates by .001 (3 stacks) and .0003 (4 stacks).
    assert coverage.expected_kl_uniform(26_000, 1000) == pytest.approx(0.0195, abs=0.001)
    assert coverage.expected_kl_uniform(260_000, 10_000) == pytest.approx(0.0194, abs=0.0003)
    assert coverage.expected_kl_product(26_000, MNIST, 3) == pytest.approx(0.0242, abs=0.001)
    assert coverage.expected_kl_product(260_000, MNIST, 4) == pytest.approx(0.0251, abs=0.0003)
    # To first order (K - 1)/2N, to second (K^2 - 1)/12N^2 more.
    series = 999 / 52_000 + (1000**2 - 1) / (12 * 26_000**2)
    assert coverage.expected_kl_uniform(26_000, 1000) == pytest.approx(series, abs=1e-5)


@settings(max_examples=20)
@given(hnp.arrays(np.float64, 10, elements=st.floats(0.01, 1)), st.integers(1, 2))
def test_an_uneven_sampler_has_a_higher_floor(weights: np.ndarray, stacks: int) -> None:
    frequencies = (weights / weights.sum()).tolist()
    samples, modes = 26 * 10**stacks, 10**stacks
    apart = stacks * float(stats.entropy(frequencies, [0.1] * 10))
    # By convexity the expected divergence is above that of the expected shares.
    assert coverage.expected_kl_product(samples, frequencies, stacks) >= apart - 1e-12
    assert coverage.expected_kl_product(10**5, frequencies, stacks) == pytest.approx(apart, abs=1e-3)
    assert coverage.expected_kl_uniform(samples, modes) > 0


def test_memory_grows_with_samples_not_with_modes() -> None:
    stacks, samples = 12, 20_000
    digits = np.random.default_rng(0).integers(0, 10, (samples, stacks), dtype=np.uint8)
    tracemalloc.start()
    ids, counts = np.unique(coverage.mode_ids(digits), return_counts=True)
    kl = coverage.kl_to_uniform(counts, 10**stacks)
    coverage.kl_to_product(ids, counts, [MNIST] * stacks)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6
    assert kl == pytest.approx(math.log(10**stacks / samples), abs=1e-3)
