"""Where one of the paper's curves lies among the seeds of a variant: ranks at a few steps, and words for them.

What n seeds can tell: if the paper's seed were one more of ours, every order of the n + 1 values at one step
would be equally likely, and the paper's value would lie outside all of ours with probability 2 / (n + 1),
whatever the distribution. Values at several steps are dependent, so these probabilities must not be multiplied.
Instead, each of our seeds is treated like the paper's: how far does it lie outside all others, including the
paper's? If some of ours lie as far out as the paper's, nothing sets the paper's apart. This is a permutation
test (conformal p-value; Vovk, Gammerman & Shafer, 2005, ch. 2), exact for every n, however the steps depend on
each other. The smallest p-value that n seeds can give is 1 / (n + 1): the rate at which a typical seed is called
atypical by chance. With fewer than `FEW` seeds only the range is reported, and a single seed gives no rank.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bncore.figure import ChartData, Floats, Picture

FEW = 5
"""With fewer seeds than this only the range is reported: one more seed would often lie outside it."""
LEVEL = 0.05
"""The paper's curve is typical if more than this share of the seeds, including the paper's, lie as far out. With
few seeds, it is atypical only if none of ours is as far out."""
SHARES = (0.0, 0.02, 0.1, 0.25, 0.5, 1.0)
"""Sampled positions, as shares of the common range of steps; denser early, where most changes happen."""
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Aligned:
    """One of the paper's curves and our seeds' curves at their common steps, in plot units: logarithms if the
    paper's axis is logarithmic."""

    steps: Floats  # (m,) ascending
    paper: Floats  # (k, m): one row for a line, two for the edges of a band, one for each step length
    ours: Floats  # (k, n, m), NaN where a seed has no value
    edges: tuple[str, ...]  # k names; one empty name for a line
    tolerance: float
    """Distance within which values count as ties; the paper's values are not known more precisely."""
    log: bool = False
    """Whether the values are log10."""

    def plain(self, values: Floats) -> Floats:
        """The values in original units, with any logarithm undone."""
        return np.asarray(10**values if self.log else values)

    @property
    def spread(self) -> tuple[Floats, Floats, Floats]:
        """For a line: steps, and the least and the greatest of the seeds' values."""
        low, high = (self.plain(extreme.reduce(self.ours[0], axis=0)) for extreme in (np.fmin, np.fmax))
        return self.steps, low, high


@dataclass(frozen=True, slots=True)
class RankSample:
    """The paper's rank at one step, for one edge."""

    step: float
    edge: str
    """``lower edge``, ``upper edge``, ``a = 0.05``; empty for a line."""
    rank: float
    """Share of our seeds below the paper's value; ties count half."""
    seeds: int
    """Number of seeds with a value at this step."""
    paper: float
    low: float
    """Least of our values."""
    high: float
    side: int
    """1 if the paper's value is above all of ours, -1 if below all, else 0."""


@dataclass(frozen=True)
class PaperRank:
    """Where one of the paper's curves lies among our seeds of the same variant."""

    figure: str
    panel: str
    variant: str
    """Variant name as in pictures."""
    curve: str
    """Curve name as in the paper."""
    seeds: int
    diverged: int = 0
    """Number of these seeds that diverged."""
    looks: tuple[RankSample, ...] = ()
    """Ranks at the sampled steps; empty if there is no rank."""
    as_far: int = 0
    """Number of our seeds that lie as far outside the others as the paper's lies outside ours."""
    reason: str = ""
    """Why there is no rank; empty if there is one."""

    @cached_property
    def out(self) -> tuple[RankSample, ...]:
        """Samples at which the paper's value lies outside all of ours."""
        return tuple(sample for sample in self.looks if sample.side)

    @property
    def chance(self) -> float:
        """Probability that one more seed of ours lies as far out."""
        return (1 + self.as_far) / (1 + self.seeds)

    @property
    def outside(self) -> bool:
        """Whether the paper's curve lies farther out than one more seed of ours would."""
        return bool(self.out) and self.chance <= max(LEVEL, 1 / (1 + self.seeds))

    @property
    def often(self) -> bool:
        """Whether the paper's curve lies outside ours at more samples than one more seed would on average."""
        return len(self.out) > math.ceil(2 * len(self.looks) / (1 + self.seeds))

    @property
    def words(self) -> str:
        """``outside all 20 of ours from step 500 on (below)`` if the curve lies farther out than one more seed of
        ours would; else ``a typical seed``, or ``an unusual seed`` if it lies outside more often than expected."""
        if self.reason:
            return self.reason
        gone = f"; {self.diverged} of {self.seeds} seeds diverged" if self.diverged else ""
        few = self.seeds < FEW
        if not self.out:
            within = f"within the range of {self.seeds} seeds (few)" if few else "a typical seed"
            steps = {sample.step for sample in self.looks}
            return within + (f" {where([*steps], steps)}" if len(steps) == 1 else "") + gone
        if self.outside:
            of_ours = f"all {self.seeds} seeds (few)" if few else f"all {self.seeds} of ours"
            return f"outside {of_ours} {self._where} ({self._side}){gone}"
        out = f"outside all {self.seeds} {self._where}, as {self.as_far} of ours"
        if few:
            return f"{out} (few seeds){gone}"
        return f"{'an unusual' if self.often else 'a typical'} seed ({out}){gone}"

    @property
    def _where(self) -> str:
        steps = sorted({sample.step for sample in self.looks})
        return where(steps, {sample.step for sample in self.out})

    @property
    def _side(self) -> str:
        sides = {sample.side for sample in self.out}
        side = "on both sides" if len(sides) > 1 else "above" if 1 in sides else "below"
        edges, out = ({sample.edge for sample in looks} for looks in (self.looks, self.out))
        if edges == out:
            return side
        return f"{side}; {', '.join(sorted(out)) if len(out) == 1 else f'{len(out)} of {len(edges)} lengths'}"


def where(steps: Sequence[float], out: set[float]) -> str:
    """At which of the sampled steps, in words; `out` must not be empty."""
    outside = [step in out for step in steps]
    first, last, count = outside.index(True), len(outside) - 1 - outside[::-1].index(True), sum(outside)
    if count == len(steps):
        return f"at step {steps[0]:,.0f}, the only one of both" if count == 1 else f"at all {count} steps"
    if count == 1:
        return f"at step {steps[first]:,.0f} only"
    if last - first + 1 == count and last == len(steps) - 1:
        return f"from step {steps[first]:,.0f} on"
    if last - first + 1 == count and first == 0:
        return f"up to step {steps[last]:,.0f}"
    return f"at {count} of {len(steps)} steps"


def rank(value: float, ours: Floats, tolerance: float = 0.0) -> float:
    """Share of `ours` below a value; values within the tolerance count half. NaN if nothing is known.

    Arguments:
        ours: (n,); non-finite values are left out.
    """
    finite = ours[np.isfinite(ours)]
    if not len(finite) or not np.isfinite(value):
        return np.nan
    ties = np.abs(finite - value) <= tolerance
    return float(((finite < value) & ~ties).mean() + ties.mean() / 2)


def looks(aligned: Aligned) -> tuple[RankSample, ...]:
    """Ranks of every edge at a few steps, where the paper and at least two seeds have a value."""
    samples = []
    for at in chosen(aligned.steps):
        for edge, name in enumerate(aligned.edges):
            paper, ours = float(aligned.paper[edge, at]), aligned.ours[edge, :, at]
            finite = ours[np.isfinite(ours)]
            if len(finite) < 2 or not np.isfinite(paper):
                continue
            low, high = float(finite.min()), float(finite.max())
            side = int(paper > high + aligned.tolerance) - int(paper < low - aligned.tolerance)
            share = rank(paper, finite, aligned.tolerance)
            value, least, most = map(float, aligned.plain(np.array([paper, low, high])))
            samples.append(
                RankSample(float(aligned.steps[at]), name, share, len(finite), value, least, most, side)
            )
    return tuple(samples)


def as_far(aligned: Aligned) -> int:
    """Number of our seeds that lie as far outside all others as the paper's lies outside ours.

    How far a curve lies outside the others is its distance beyond their range, in units of that range, averaged
    over the sampled steps and edges at which it has a value.
    """
    at = chosen(aligned.steps)
    pool = np.concatenate([aligned.paper[:, None, at], aligned.ours[:, :, at]], axis=1)  # (k, 1 + n, looks)
    pool = np.moveaxis(pool, 1, 0).reshape(pool.shape[1], -1)  # (1 + n, k * looks)
    pool = pool[:, np.isfinite(pool[0]) & (np.isfinite(pool).sum(axis=0) > 2)]
    if not pool.size:
        return 0
    distances = _beyond(pool, aligned.tolerance)
    return int((distances[1:] >= distances[0]).sum())


def _beyond(pool: Floats, tolerance: float) -> Floats:
    """Distance of each curve outside all others, shape (curves,)."""
    finite = np.isfinite(pool)
    low = np.sort(np.where(finite, pool, np.inf), axis=0)[:2]
    high = np.sort(np.where(finite, pool, -np.inf), axis=0)[::-1][:2]
    least = np.where(pool == low[0], low[1], low[0])  # of the others
    most = np.where(pool == high[0], high[1], high[0])
    beyond = np.maximum(np.maximum(pool - most, least - pool) - tolerance, 0)
    beyond = np.where(finite, beyond / (most - least + tolerance + _TINY), 0)
    return np.asarray(beyond.sum(axis=1) / np.maximum(finite.sum(axis=1), 1))


def chosen(steps: Floats) -> list[int]:
    """Indices of the sampled steps: those nearest the `SHARES` of the range."""
    if not len(steps):
        return []
    wanted = steps[0] + np.array(SHARES) * (steps[-1] - steps[0])
    return sorted({int(np.abs(steps - one).argmin()) for one in wanted})


def smoothed(aligned: Aligned, half: int) -> Aligned:
    """The paper's and our values averaged over `half` samples to either side. Windows shrink symmetrically toward
    the ends, so that nothing is shifted."""

    def over(values: Floats) -> Floats:
        last = values.shape[-1] - 1
        means = []
        for i in range(last + 1):
            reach = min(half, i, last - i)
            means.append(values[..., i - reach : i + reach + 1].mean(axis=-1))
        return np.stack(means, axis=-1)

    return replace(aligned, paper=over(aligned.paper), ours=over(aligned.ours))


def spacing(x: Floats) -> float:
    """Steps between the paper's samples: all but the last are at multiples of it, even if some were lost."""
    return float(np.gcd.reduce(np.rint(x[:-1]).astype(np.int64))) if len(x) > 2 else 0.0


@dataclass(frozen=True, slots=True)
class ReportPanel(ChartData):
    """A panel of a report figure."""

    ranks: tuple[PaperRank, ...] = ()
    """Ranks of the paper's curves among the seeds."""
    first_seed: bool = False
    """Whether it shows the first seed only."""


@dataclass(frozen=True, slots=True)
class ReportPicture(Picture):
    """A report figure."""

    panels: tuple[ReportPanel, ...]

    @property
    def ranks(self) -> tuple[PaperRank, ...]:
        """The ranks of all panels."""
        return tuple(rank for panel in self.panels for rank in panel.ranks)
