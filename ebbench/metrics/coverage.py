"""Mode coverage: how many of K equally likely modes a sampler reaches, and how evenly.

This is StackedMNIST's measure (Metz et al. 2017; Srivastava et al. 2017). Each of n channels is classified as
one of 10 digits; the tuple of digits is the sample's mode, so K = 10^n. The code is sparse: cost and memory
grow with the number of samples and of modes that they reach, never with K.

A finite sample has KL > 0 even for a perfect sampler. `expected_kl_uniform` and `expected_kl_product` compute
this floor exactly (up to rounding), instead of the usual approximation (K - 1) / (2N).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

CLASSES = 10


def mode_ids(digits: NDArray[np.integer]) -> NDArray[np.int64]:
    """Mode numbers (N,) of samples with `digits` (N, n), each 0 to 9, read as an n-digit decimal number."""
    ids = np.zeros(len(digits), dtype=np.int64)
    for channel in range(digits.shape[1]):
        ids *= CLASSES
        ids += digits[:, channel]
    return ids


def mode_digits(ids: NDArray[np.int64], stacks: int) -> NDArray[np.int64]:
    """The inverse of `mode_ids`: (N,) to (N, stacks)."""
    powers = CLASSES ** np.arange(stacks - 1, -1, -1, dtype=np.int64)
    return ids[:, None] // powers % CLASSES


def kl_to_uniform(counts: NDArray[np.integer], modes: int) -> float:
    """KL(samples || uniform over `modes` modes), in nats.

    `counts` holds the number of samples in each mode; empty modes may be omitted or be 0.
    """
    met = np.asarray(counts)[np.asarray(counts) > 0]
    n = int(met.sum())
    # Rounding can give -1e-17 instead of 0.
    return max(0.0, float(np.sum(met / n * np.log(met * (modes / n)))))


def kl_to_product(
    ids: NDArray[np.int64], counts: NDArray[np.integer], frequencies: Sequence[Sequence[float]]
) -> float:
    """KL(samples || independent channels with the given digit frequencies), in nats.

    `ids` and `counts` are the modes reached and their numbers of samples. `frequencies` (n, 10) holds the
    frequency of each digit in each channel, all above zero.
    """
    table = np.asarray(frequencies, dtype=np.float64)
    digits = mode_digits(ids, len(table))
    log_reference = sum(np.log(table[channel])[digits[:, channel]] for channel in range(len(table)))
    share = counts / counts.sum()
    return float(np.sum(share * (np.log(share) - log_reference)))


def expected_kl_uniform(samples: int, modes: int) -> float:
    """Expected KL(samples || uniform) of a perfect uniform sampler, in nats.

    modes * E[(X/N) ln(X modes / N)] with X ~ Binomial(N, 1/modes), N = `samples`.
    """
    return modes * _expected_term(samples, 1 / modes, 1 / modes)


def expected_kl_product(samples: int, frequencies: Sequence[float], stacks: int) -> float:
    """Expected KL(samples || uniform) of a perfect sampler of the data, in nats.

    The data have n = `stacks` independent channels, each with the digit `frequencies` (10,). The sum over
    10^n modes needs one term per multiset of digits, C(n + 9, 9) in total.
    """
    modes = CLASSES**stacks
    total = 0.0
    for digits in combinations_with_replacement(range(CLASSES), stacks):
        arrangements = math.factorial(stacks)
        for repeats in Counter(digits).values():
            arrangements //= math.factorial(repeats)
        probability = math.prod(frequencies[digit] for digit in digits)
        total += arrangements * _expected_term(samples, probability, 1 / modes)
    return total


def deviation_of_kl(samples: int, frequencies: Sequence[float], stacks: int) -> float:
    """Standard deviation of `expected_kl_product`'s KL over repeated draws of `samples` samples, in nats.

    Second-order approximation (delta method): sqrt(n Var(ln f) / N + (K - 1) / (2 N^2)). With uniform
    frequencies only the second term remains.
    """
    f = np.asarray(frequencies, dtype=np.float64)
    f = f[f > 0]
    log_f = np.log(f)
    variance = float(np.sum(f * log_f**2) - np.sum(f * log_f) ** 2)
    return math.sqrt(stacks * max(variance, 0.0) / samples + (CLASSES**stacks - 1) / (2 * samples**2))


def _expected_term(samples: int, probability: float, reference: float) -> float:
    """E[(X/N) ln(X / (N reference))], X ~ Binomial(N = samples, probability)."""
    if probability <= 0.0:
        return 0.0
    if probability >= 1.0:
        return -math.log(reference)
    mean = samples * probability
    # Beyond this count the binomial tail is below e^-70 (Chernoff).
    last = min(samples, math.ceil(mean + 12 * math.sqrt(mean) + 60))
    x = np.arange(1, last + 1, dtype=np.float64)
    # Recursion in log space: p(x)/p(x - 1) = (N - x + 1)/x * p/(1 - p).
    odds = math.log(probability) - math.log1p(-probability)
    log_pmf = samples * math.log1p(-probability) + np.cumsum(np.log((samples - x + 1) / x) + odds)
    return float(np.sum(np.exp(log_pmf) * (x / samples) * np.log(x / (samples * reference))))
