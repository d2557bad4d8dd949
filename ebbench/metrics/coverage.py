"""Mode coverage: how many of K equally wanted modes a sampler reaches, and how evenly.

The measure of StackedMNIST (Metz et al., 2017; Srivastava et al., 2017): each of n channels is
classified into one of 10 digits, a sample's mode is the tuple of its digits, K = 10^n. Everything
here is sparse: cost and memory grow with the samples and the modes they reach, never with K.

A finite sample has a KL above zero even if the sampler is perfect. `expected_kl_uniform` and
`expected_kl_product` give that floor exactly (to rounding), not by the usual (K - 1)/2N.
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
    """The modes of samples: `digits` (N, n), each 0 to 9, read as one number of n figures, (N,)."""
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

    `counts` holds how often each mode was met; modes never met may be left out or be 0.
    """
    met = np.asarray(counts)[np.asarray(counts) > 0]
    n = int(met.sum())
    # Rounding can leave -1e-17 where the truth is 0.
    return max(0.0, float(np.sum(met / n * np.log(met * (modes / n)))))


def kl_to_product(
    ids: NDArray[np.int64], counts: NDArray[np.integer], frequencies: Sequence[Sequence[float]]
) -> float:
    """KL(samples || independent channels with the given digit frequencies), in nats.

    `ids` and `counts` are the modes met and how often; `frequencies` (n, 10) holds for each channel
    the frequency of each digit, all above zero.
    """
    table = np.asarray(frequencies, dtype=np.float64)
    digits = mode_digits(ids, len(table))
    log_reference = sum(np.log(table[channel])[digits[:, channel]] for channel in range(len(table)))
    share = counts / counts.sum()
    return float(np.sum(share * (np.log(share) - log_reference)))


def expected_kl_uniform(samples: int, modes: int) -> float:
    """The expected KL(samples || uniform) of a perfect uniform sampler, in nats.

    modes * E[(X/N) ln(X modes / N)] with X ~ Binomial(N, 1/modes), N = `samples`.
    """
    return modes * _expected_term(samples, 1 / modes, 1 / modes)


def expected_kl_product(samples: int, frequencies: Sequence[float], stacks: int) -> float:
    """The expected KL(samples || uniform) of a perfect sampler of the data, in nats.

    Its n = `stacks` channels are independent, each with the digit `frequencies` (10,). The sum over
    the 10^n modes needs only one term for each multiset of digits, C(n + 9, 9) of them.
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
    """The standard deviation of that KL over repeated draws of `samples` samples, in nats.

    To second order (delta method): n Var(ln f)/N + (K - 1)/(2 N^2) under the root. With uniform
    frequencies only the second term is left.
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
    # Beyond this the binomial's tail is under e^-70 (Chernoff).
    last = min(samples, math.ceil(mean + 12 * math.sqrt(mean) + 60))
    x = np.arange(1, last + 1, dtype=np.float64)
    # From one count to the next, in logarithms: p(x)/p(x - 1) = (N - x + 1)/x * p/(1 - p).
    odds = math.log(probability) - math.log1p(-probability)
    log_pmf = samples * math.log1p(-probability) + np.cumsum(np.log((samples - x + 1) / x) + odds)
    return float(np.sum(np.exp(log_pmf) * (x / samples) * np.log(x / (samples * reference))))
