"""Effect sizes over seeds: paired differences and their bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
EXACT_UP_TO = 6
"""Number of values up to which every resample is looked at: 6^6 = 46,656."""
RESAMPLES = 20_000
"""Where there are more values than that."""
ENOUGH_SEEDS = 3
"""Fewest seeds for a verdict. Even so an interval over so few is too narrow rather than too wide; with n seeds
that all agree, chance alone would have them agree with probability 2^(1-n)."""


@dataclass(frozen=True)
class Estimate:
    """The mean of a quantity over seeds, with its interval."""

    mean: float
    low: float
    high: float
    values: tuple[tuple[int, float], ...]
    """(seed, value), ascending by seed."""

    @property
    def n(self) -> int:
        """Number of seeds."""
        return len(self.values)


def estimate(values: Mapping[int, float]) -> Estimate | None:
    """Mean and percentile bootstrap interval of the finite values, by seed; None where there are none.

    The interval of a single value is that value: it says nothing of how far another seed would lie.
    """
    kept = tuple((seed, value) for seed, value in sorted(values.items()) if np.isfinite(value))
    if not kept:
        return None
    sample = np.array([value for _, value in kept])
    low, high = bootstrap_interval(sample)
    return Estimate(float(sample.mean()), low, high, kept)


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Estimate | None:
    """`estimate` of the differences ours - theirs of the seeds that both have."""
    return estimate({seed: ours[seed] - theirs[seed] for seed in ours.keys() & theirs.keys()})


def ratio_of_means(over: Mapping[int, float], under: Mapping[int, float]) -> Estimate | None:
    """mean(over) / mean(under) over the seeds that both have, with the interval that resampled seeds give it; each
    seed's own value is its share of it, so that their mean is the ratio.

    None where `under` is not surely positive: where its interval holds zero or less, a ratio to it says nothing.
    """
    base = estimate({seed: under[seed] for seed in over.keys() & under.keys()})
    if base is None or not base.low > 0:
        return None
    seeds = [seed for seed, _ in base.values]
    table = np.array([[over[seed], under[seed]] for seed in seeds])
    means = _resampled(table)
    low, high = _interval(means[:, 0] / means[:, 1])
    shares = tuple((seed, float(over[seed] / base.mean)) for seed in seeds)
    return Estimate(float(table[:, 0].mean() / table[:, 1].mean()), low, high, shares)


def bootstrap_interval(sample: NDArray[np.float64]) -> tuple[float, float]:
    """Percentile interval of the mean (Efron & Tibshirani, 1993, ch. 13): over all n^n resamples where n is at
    most `EXACT_UP_TO`, else over `RESAMPLES` drawn with a fixed seed, so that a report is the same every time.

    Arguments:
        sample: (n,), n >= 1.
    """
    return _interval(_resampled(sample[:, None])[:, 0])


def _resampled(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """The means of resampled rows of an (n, k) table: (resamples, k)."""
    n = len(table)
    if n <= EXACT_UP_TO:
        drawn = np.indices((n,) * n).reshape(n, -1).T
    else:
        drawn = np.random.default_rng(0).integers(0, n, size=(RESAMPLES, n))
    means: NDArray[np.float64] = table[drawn].mean(axis=1)
    return means


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, (tail, 1 - tail), method="inverted_cdf")
    return float(low), float(high)
