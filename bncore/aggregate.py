"""Several series as one: their mean and a band about it, step by step, by the percentile bootstrap (Efron, 1979),
which the intervals of the report are of, too."""

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
from bncore.figure import Floats, values_at

BANDS: dict[Band, str] = {
    "interval": "95 % bootstrap interval of the mean (of two or three runs: their range)",
    "range": "smallest to largest",
    "quartiles": "first to third quartile",
    "deviation": "± 1 standard deviation",
    "envelope": "smallest to largest, without the mean; this is not the loss along the gradient (A.2.2)",
}
"""What a band shows, in words."""


class Member(NamedTuple):
    """One series of several."""

    x: Floats
    """(n,) ascending steps."""
    y: Floats
    """(n,) what is not finite is taken for missing."""
    ended: bool = True
    """Whether nothing more will come: it then leaves the mean, which continues without it."""


@dataclass(frozen=True, eq=False)
class Aggregate:
    """The mean of several series and a band about it, at the steps that all of them have between their first and
    last one."""

    x: Floats
    """(n,)"""
    mean: Floats
    """(n,) geometric on a logarithmic axis; NaN where no member has a value."""
    low: Floats
    """(n,) edges of the band; the mean itself where it is of one value."""
    high: Floats
    count: NDArray[np.intp]
    """(n,) values that the mean is of."""
    present: NDArray[np.intp]
    """(n,) members that have begun and not ended."""
    complete: NDArray[np.bool_]
    """(n,) whether no member is still on its way there."""
    table: Floats
    """(members, n) the values themselves; NaN is missing."""


def aggregate(
    members: Sequence[Member],
    band: Band = "interval",
    *,
    log: bool = False,
    most: int = 0,
    before: Aggregate | None = None,
) -> Aggregate:
    """The mean and the band of `members`; nothing is interpolated.

    Arguments:
        log: whether mean and band are those of the logarithms; values that have none are missing.
        most: steps at most, of more every second, fourth, … is taken; 0: all.
        before: an earlier result of these members with the same band; what has not changed is taken from it.
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
    kept = np.isfinite(table) & ((table > 0) | (not log))
    table = np.where(kept, table, np.nan)
    fresh = np.ones(len(x), dtype=bool)
    mean, low, high = (np.full(len(x), np.nan) for _ in range(3))
    if before is not None and before.table.shape[0] == table.shape[0]:
        for mine, theirs in _unchanged(x, table, before):
            for now, then in ((mean, before.mean), (low, before.low), (high, before.high)):
                now[mine] = then[theirs]
            fresh[mine] = False
    if fresh.any():
        with np.errstate(over="ignore", invalid="ignore"):  # what is beyond all numbers is drawn at the edge
            mean[fresh], low[fresh], high[fresh] = _summary(table[:, fresh], band, log=log)
    return Aggregate(x, mean, low, high, kept.sum(axis=0), present, complete, table)


def _present(x: Floats, members: Sequence[Member]) -> NDArray[np.intp]:
    """(n,) Members that have begun and not ended."""
    ends = np.array([(one.x[0], one.x[-1]) for one in members if len(one.x)]).reshape(-1, 2)
    if len(x) and (ends[:, 0] <= x[0]).all() and (ends[:, 1] >= x[-1]).all():
        return np.full(len(x), len(ends))
    come = np.bincount(np.searchsorted(x, ends[:, 0]), minlength=len(x) + 1)
    gone = np.bincount(np.searchsorted(x, ends[:, 1], side="right"), minlength=len(x) + 1)
    return np.cumsum(come - gone)[: len(x)]


def _common(members: Sequence[Member], most: int) -> tuple[Floats, Floats]:
    """Steps (n,) that no member passes over between its first and last one, or some of them, and the values
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
    # every second, fourth, … so that a step that is kept stays
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
    """Where the beginning and the end of what there is now are what they were, here and there."""
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
    """Leading columns that are equal."""
    equal = table == old
    if not equal.all():
        equal |= np.isnan(table) & np.isnan(old)
    same = (x == then) & equal.all(axis=0)
    return len(same) if same.all() else int(np.argmin(same))


def _summary(table: Floats, band: Band, *, log: bool) -> tuple[Floats, Floats, Floats]:
    """Mean, lower and upper edge (n,) of values (members, n), by the columns that miss the same members."""
    values = np.log10(table) if log else table
    finite = np.isfinite(values)
    if finite.all() and len(values):
        return _back(*_complete(values, band), log=log)
    mean, low, high = (np.full(table.shape[1], np.nan) for _ in range(3))
    present, which = np.unique(finite, axis=1, return_inverse=True)
    for number, rows in enumerate(present.T):
        if rows.any():
            at = which.ravel() == number
            mean[at], low[at], high[at] = _complete(values[np.ix_(rows, at)], band)
    return _back(mean, low, high, log=log)


def _back(mean: Floats, low: Floats, high: Floats, *, log: bool) -> tuple[Floats, Floats, Floats]:
    return (10**mean, 10**low, 10**high) if log else (mean, low, high)


def _complete(values: Floats, band: Band) -> tuple[Floats, Floats, Floats]:
    """The same of values of which none is missing."""
    mean = (values / len(values)).sum(axis=0)  # the sum of large values may be beyond all numbers
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
