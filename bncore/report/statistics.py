"""Effect sizes over seeds: paired differences and their bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bncore.aggregate import interval, interval_of_mean, resamples

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
    (low,), (high,) = interval_of_mean(sample[:, None])
    return Estimate(float(sample.mean()), float(low), float(high), kept)


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
    drawn, chances = resamples(len(seeds))
    over_means, under_means = table.T @ drawn.T
    (low,), (high,) = interval((over_means / under_means)[None], chances)
    shares = tuple((seed, float(over[seed] / base.mean)) for seed in seeds)
    return Estimate(float(table[:, 0].mean() / table[:, 1].mean()), float(low), float(high), shares)
