"""Effect sizes over seeds: paired differences and their bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bncore.aggregate import interval, interval_of_mean, resamples

ENOUGH_SEEDS = 3
"""Fewest seeds for a verdict. With so few seeds the interval tends to be too narrow rather than too wide; chance
alone makes all n seeds agree with probability 2^(1-n)."""


@dataclass(frozen=True)
class Estimate:
    """Mean of a quantity over seeds, with its interval."""

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
    """Mean and percentile bootstrap interval of the finite values, given by seed; None if there are none.

    The interval of a single value is that value; it says nothing about the spread between seeds.
    """
    finite = tuple((seed, value) for seed, value in sorted(values.items()) if np.isfinite(value))
    if not finite:
        return None
    sample = np.array([value for _, value in finite])
    (low,), (high,) = interval_of_mean(sample[:, None])
    return Estimate(float(sample.mean()), float(low), float(high), finite)


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Estimate | None:
    """`estimate` of the differences ours - theirs over the seeds common to both."""
    return estimate({seed: ours[seed] - theirs[seed] for seed in ours.keys() & theirs.keys()})


def ratio_of_means(over: Mapping[int, float], under: Mapping[int, float]) -> Estimate | None:
    """mean(over) / mean(under) over the seeds common to both, with a bootstrap interval over seeds. A seed's value
    is over / mean(under), so that the mean of the seeds' values is the ratio.

    None if `under` is not clearly positive: if its interval includes zero or less, the ratio is meaningless.
    """
    base = estimate({seed: under[seed] for seed in over.keys() & under.keys()})
    if base is None or not base.low > 0:
        return None
    seeds = [seed for seed, _ in base.values]
    table = np.array([[over[seed], under[seed]] for seed in seeds])
    drawn, chances = resamples(len(seeds))
    over_means, under_means = table.T @ drawn.T
    (low,), (high,) = interval((over_means / under_means)[None], chances)
    shares = tuple((seed, float(over[seed] / base.mean)) for seed in seeds)
    return Estimate(float(table[:, 0].mean() / table[:, 1].mean()), float(low), float(high), shares)
