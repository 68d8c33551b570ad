"""Aggregation of several series: their mean and a band around it, step by step. Intervals are percentile bootstrap
intervals (Efron, 1979), as in the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations_with_replacement
from math import factorial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bncore.config.measure import Band
from bncore.figure import Floats, drawable, values_at

BANDS: dict[Band, str] = {
    "interval": "95 % bootstrap interval of the mean (of two or three runs: their range)",
    "range": "smallest to largest",
    "quartiles": "first to third quartile",
    "deviation": "± 1 standard deviation",
    "envelope": "smallest to largest, no mean; not the loss along the gradient (A.2.2)",
}
"""Description of each kind of band."""


class Member(NamedTuple):
    """One of several series."""

    x: Floats
    """(n,) ascending steps."""
    y: Floats
    """(n,) values; non-finite ones count as missing."""
    ended: bool = True
    """Whether no more values will come; after its last step the mean continues without it."""


@dataclass(frozen=True, eq=False)
class Aggregate:
    """The mean of several series and a band around it, at the steps that no series skips between its first and
    last step."""

    x: Floats
    """(n,)"""
    mean: Floats
    """(n,) mean, geometric on a logarithmic axis; NaN where no member has a value."""
    low: Floats
    """(n,) lower edge of the band; the mean itself where there is only one value."""
    high: Floats
    count: NDArray[np.intp]
    """(n,) number of values in the mean."""
    present: NDArray[np.intp]
    """(n,) number of members that have begun and not ended."""
    complete: NDArray[np.bool_]
    """(n,) whether every member has reached this step or ended."""
    table: Floats
    """(members, n) the values; NaN where missing."""


def aggregate(
    members: Sequence[Member],
    band: Band = "interval",
    *,
    log: bool = False,
    most: int = 0,
    before: Aggregate | None = None,
) -> Aggregate:
    """The mean and band of `members`, without interpolation.

    Arguments:
        log: whether to aggregate logarithms; values without a logarithm count as missing.
        most: most steps; if there are more, every second, fourth, … step is taken. 0: all.
        before: an earlier result for these members with the same band; unchanged columns are reused.
    """
    x, table = _common(members, most)
    reached = [np.inf if one.ended else (one.x[-1] if len(one.x) else -np.inf) for one in members]
    complete = x <= min(reached, default=np.inf)
    present = _present(x, members)
    if (
        before is not None
        and before.table.shape == table.shape
        and _alike(x, before.x, table, before.table) == len(x)
    ):
        return replace(before, present=present, complete=complete)
    table = drawable(table, log=log)
    fresh = np.ones(len(x), dtype=bool)
    mean, low, high = (np.full(len(x), np.nan) for _ in range(3))
    if before is not None and before.table.shape[0] == table.shape[0]:
        for mine, theirs in _unchanged(x, table, before):
            for now, then in ((mean, before.mean), (low, before.low), (high, before.high)):
                now[mine] = then[theirs]
            fresh[mine] = False
    if fresh.any():
        with np.errstate(over="ignore", invalid="ignore"):  # an overflow is drawn at the edge
            mean[fresh], low[fresh], high[fresh] = _summary(table[:, fresh], band, log=log)
    return Aggregate(x, mean, low, high, np.isfinite(table).sum(axis=0), present, complete, table)


def _present(x: Floats, members: Sequence[Member]) -> NDArray[np.intp]:
    """(n,) number of members that have begun and not ended."""
    ends = np.array([(one.x[0], one.x[-1]) for one in members if len(one.x)]).reshape(-1, 2)
    come = np.bincount(np.searchsorted(x, ends[:, 0]), minlength=len(x) + 1)
    gone = np.bincount(np.searchsorted(x, ends[:, 1], side="right"), minlength=len(x) + 1)
    return np.cumsum(come - gone)[: len(x)]


def _common(members: Sequence[Member], most: int) -> tuple[Floats, Floats]:
    """Steps (n,) that no member skips between its first and last step, thinned to at most `most`, and the values
    (members, n)."""
    lines = [one for one in members if len(one.x)]
    if not lines:
        return np.empty(0), np.empty((len(members), 0))
    x = max((one.x for one in lines), key=len)
    alike = all(one.x is x or np.array_equal(one.x, x[: len(one.x)]) for one in lines)
    if not alike:
        x = np.unique(np.concatenate([one.x for one in lines]))
        inside = [(x >= one.x[0]) & (x <= one.x[-1]) for one in lines]
        passed = [there & ~np.isin(x, one.x) for one, there in zip(lines, inside, strict=True)]
        x = x[~np.any(passed, axis=0)]
    # strides are powers of two, so that a coarser one keeps a subset of the same steps
    every = 1 << (-(-len(x) // most) - 1).bit_length() if most and len(x) > most else 1
    x = x[::every]
    table = np.full((len(members), len(x)), np.nan)
    for row, one in zip(table, members, strict=True):
        if alike:
            values = one.y[::every]
            row[: len(values)] = values
        else:
            row[:] = values_at(x, one.x, one.y)
    return x, table


def _unchanged(x: Floats, table: Floats, before: Aggregate) -> list[tuple[slice, slice]]:
    """Unchanged leading and trailing columns, as pairs of slices into the new and the previous table."""
    shared = min(len(x), len(before.x))
    first = _alike(x[:shared], before.x[:shared], table[:, :shared], before.table[:, :shared])
    rest = shared - first
    if not rest:
        return [(slice(0, first), slice(0, first))]
    last = _alike(
        x[::-1][:rest], before.x[::-1][:rest], table[:, ::-1][:, :rest], before.table[:, ::-1][:, :rest]
    )
    return [
        (slice(0, first), slice(0, first)),
        (slice(len(x) - last, len(x)), slice(len(before.x) - last, len(before.x))),
    ]


def _alike(x: Floats, then: Floats, table: Floats, old: Floats) -> int:
    """Number of equal leading columns."""
    equal = table == old
    if not equal.all():
        equal |= np.isnan(table) & np.isnan(old)
    same = (x == then) & equal.all(axis=0)
    return len(same) if same.all() else int(np.argmin(same))


def _summary(table: Floats, band: Band, *, log: bool) -> tuple[Floats, Floats, Floats]:
    """Mean, lower and upper edge (n,) of values (members, n); columns missing the same members are done
    together."""
    values = np.log10(table) if log else table
    finite = np.isfinite(values)
    if finite.all() and len(values):
        mean, low, high = _complete(values, band)
    else:
        mean, low, high = (np.full(table.shape[1], np.nan) for _ in range(3))
        present, which = np.unique(finite, axis=1, return_inverse=True)
        for number, rows in enumerate(present.T):
            if rows.any():
                at = which.ravel() == number
                mean[at], low[at], high[at] = _complete(values[np.ix_(rows, at)], band)
    return (10**mean, 10**low, 10**high) if log else (mean, low, high)


def _complete(values: Floats, band: Band) -> tuple[Floats, Floats, Floats]:
    """Mean, lower and upper edge (n,) of values (members, n) without missing ones."""
    mean = (values / len(values)).sum(axis=0)  # the sum of large values may overflow
    match band:
        case "range" | "envelope":
            low, high = values.min(axis=0), values.max(axis=0)
        case "quartiles":
            low, high = np.quantile(values, [0.25, 0.75], axis=0)
        case "deviation":
            deviation = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros_like(mean)
            low, high = mean - deviation, mean + deviation
        case "interval":
            low, high = interval_of_mean(values)
    return mean, low, high


COVERAGE = 0.95
"""Coverage of an interval."""
ENUMERATED = 6
"""Most members for which all resamples are enumerated, so that the bootstrap is exact."""
RESAMPLES = 1000
"""Number of resamples for more members, drawn with a fixed seed so that intervals are reproducible."""


def interval_of_mean(values: Floats) -> tuple[Floats, Floats]:
    """Lower and upper interval edges (n,) of the mean of values (members, n) without missing ones."""
    shares, chances = resamples(len(values))
    if chances.min() >= (1 - COVERAGE) / 2:  # up to three members: no resample is rare enough to be cut
        return values.min(axis=0), values.max(axis=0)
    low, high = np.empty(values.shape[1]), np.empty(values.shape[1])
    block = max(1, 2**20 // len(shares))
    for start in range(0, values.shape[1], block):
        part = np.s_[start : start + block]
        low[part], high[part] = interval(values[:, part].T @ shares.T, chances)
    return low, high


def interval(statistics: Floats, chances: Floats) -> tuple[Floats, Floats]:
    """Lower and upper interval edges (n,) of a statistic, from its values in every resample (n, resamples): at
    most (1 - `COVERAGE`) / 2 lies beyond either edge."""
    order = np.argsort(statistics, axis=1)
    reached = np.cumsum(chances[order], axis=1)
    edges = []
    for share in ((1 - COVERAGE) / 2, (1 + COVERAGE) / 2):
        index = np.minimum((reached < share - 1e-12).sum(axis=1), len(chances) - 1)
        edges.append(np.take_along_axis(statistics, np.take_along_axis(order, index[:, None], 1), 1)[:, 0])
    return edges[0], edges[1]


@lru_cache
def resamples(members: int) -> tuple[Floats, Floats]:
    """Share of each member in every resample (resamples, members), and the resamples' probabilities (resamples,).
    For few members all resamples are listed, starting with the one that contains only the first member."""
    if members > ENUMERATED:
        counts = np.random.default_rng(0).multinomial(members, np.full(members, 1 / members), RESAMPLES)
        return counts / members, np.full(RESAMPLES, 1 / RESAMPLES)
    shares, chances = [], []
    for drawn in combinations_with_replacement(range(members), members):
        counts = np.bincount(drawn, minlength=members)
        ways = factorial(members) // int(np.prod([factorial(n) for n in counts]))
        shares.append(counts / members)
        chances.append(ways / members**members)
    return np.array(shares), np.array(chances)
