"""The percentile bootstrap (Efron, 1979): one for the bands of curves and for the intervals of the report."""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations_with_replacement
from math import factorial

import numpy as np

from bncore.figure import Floats

COVERAGE = 0.95
"""Of an interval."""
ENUMERATED = 6
"""Up to so many members every resample is counted, so that the bootstrap is exact."""
RESAMPLES = 1000
"""Of more members, drawn with a fixed seed, so that an interval is the same every time."""


def interval_of_mean(values: Floats) -> tuple[Floats, Floats]:
    """Lower and upper edges (n,) of the mean of values (members, n), of which none is missing."""
    shares, chances = resamples(len(values))
    if chances.min() >= (1 - COVERAGE) / 2:  # of up to three members the rarest resamples are inside
        return values.min(axis=0), values.max(axis=0)
    low, high = np.empty(values.shape[1]), np.empty(values.shape[1])
    block = max(1, 2**20 // len(shares))
    for start in range(0, values.shape[1], block):
        part = np.s_[start : start + block]
        low[part], high[part] = interval(values[:, part].T @ shares.T, chances)
    return low, high


def interval(statistics: Floats, chances: Floats) -> tuple[Floats, Floats]:
    """Lower and upper edges (n,) of a statistic, from its value in every resample (n, resamples): at most half of
    what `COVERAGE` leaves lies beyond either."""
    order = np.argsort(statistics, axis=1)
    reached = np.cumsum(chances[order], axis=1)
    edges = []
    for share in ((1 - COVERAGE) / 2, (1 + COVERAGE) / 2):
        place = np.minimum((reached < share - 1e-12).sum(axis=1), len(chances) - 1)
        edges.append(np.take_along_axis(statistics, np.take_along_axis(order, place[:, None], 1), 1)[:, 0])
    return edges[0], edges[1]


@lru_cache
def resamples(members: int) -> tuple[Floats, Floats]:
    """Shares of each member in every resample (resamples, members), and the resamples' chances: all there are of a
    few members, that of one member alone first."""
    if members > ENUMERATED:
        counts = np.random.default_rng(0).multinomial(members, np.full(members, 1 / members), RESAMPLES)
        return counts / members, np.full(RESAMPLES, 1 / RESAMPLES)
    found, chances = [], []
    for drawn in combinations_with_replacement(range(members), members):
        counts = np.bincount(drawn, minlength=members)
        ways = factorial(members) // int(np.prod([factorial(n) for n in counts]))
        found.append(counts / members)
        chances.append(ways / members**members)
    return np.array(found), np.array(chances)
