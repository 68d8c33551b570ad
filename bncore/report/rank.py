"""Where one curve of the paper lies among the seeds of a variant: ranks at a few steps, and words for them.

What n seeds can say: if the paper's seed were one more of ours, all n + 1 values of one step would be equally
likely in every order, and the paper's would lie outside all of ours with probability 2 / (n + 1), whatever
the distribution. Looks at several steps depend on each other, so such numbers must not be multiplied.
Instead each of our seeds is looked at as the paper's is: how far does it lie outside all others, the paper's
among them? Where some of ours lie as far out as the paper's, nothing sets it apart from them. This is a
permutation test (conformal p-value; Vovk, Gammerman & Shafer, 2005, ch. 2): exact for every n, however the
steps depend on each other. The least that n seeds can give is 1 / (n + 1): so often a typical seed is called
untypical by chance. Of fewer than `FEW` seeds only the range is spoken of, and one seed has no rank.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bncore.figure import ChartData, Floats, Picture

FEW = 5
"""Of fewer seeds than these only the range is spoken of: one more seed would often lie outside them."""
LEVEL = 0.05
"""Share of the seeds, the paper's among them, that must lie as far out as the paper's for it to be typical; of few
seeds none of ours is as far out."""
SHARES = (0.0, 0.02, 0.1, 0.25, 0.5, 1.0)
"""Of the steps that both cover, where it is looked: most of what happens, happens early."""
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Aligned:
    """A curve of the paper and those of the seeds at the steps that both have, as they are plotted: logarithms
    where the paper's axis is logarithmic."""

    steps: Floats  # (m,) ascending
    paper: Floats  # (k, m): one row for a line, two for the edges of a band, one for each step length
    ours: Floats  # (k, n, m), NaN where a seed has no value
    edges: tuple[str, ...]  # k names; one that is empty for a line
    tolerance: float
    """Values as near as that count as ties: the paper's are known no better."""
    log: bool = False
    """Whether values are log10."""

    def plain(self, values: Floats) -> Floats:
        """As they were before they were plotted."""
        return np.asarray(10**values if self.log else values)

    @property
    def spread(self) -> tuple[Floats, Floats, Floats]:
        """Steps, the least and the greatest of the seeds' values, of a line."""
        low, high = (self.plain(extreme.reduce(self.ours[0], axis=0)) for extreme in (np.fmin, np.fmax))
        return self.steps, low, high


@dataclass(frozen=True, slots=True)
class RankSample:
    """The paper's rank at one step, of one edge."""

    step: float
    edge: str
    """``lower edge``, ``upper edge``, ``a = 0.05``; empty for a line."""
    rank: float
    """Share of our seeds below the paper's, those equal to it counted by half."""
    seeds: int
    """Those that have a value there."""
    paper: float
    low: float
    """The least of ours."""
    high: float
    side: int
    """1: the paper's is above all of ours; -1: below all; 0: neither."""


@dataclass(frozen=True)
class PaperRank:
    """Where a curve of the paper lies among the seeds of the variant that it is of."""

    figure: str
    panel: str
    variant: str
    """As pictures name it."""
    curve: str
    """As the paper names it."""
    seeds: int
    diverged: int = 0
    """How many of them."""
    looks: tuple[RankSample, ...] = ()
    """Empty where there is no rank."""
    as_far: int = 0
    """How many of our seeds lie as far outside the others as the paper's lies outside ours."""
    reason: str = ""
    """Why there is no rank; empty where there is one."""

    @cached_property
    def out(self) -> tuple[RankSample, ...]:
        """The looks at which the paper's lies outside all of ours."""
        return tuple(look for look in self.looks if look.side)

    @property
    def chance(self) -> float:
        """How often one more seed of ours would lie as far out."""
        return (1 + self.as_far) / (1 + self.seeds)

    @property
    def outside(self) -> bool:
        """Whether the paper's lies farther out than one more seed of ours would."""
        return bool(self.out) and self.chance <= max(LEVEL, 1 / (1 + self.seeds))

    @property
    def often(self) -> bool:
        """Whether the paper's lies outside ours at more looks than one more seed of ours would on average."""
        return len(self.out) > math.ceil(2 * len(self.looks) / (1 + self.seeds))

    @property
    def words(self) -> str:
        """``outside all 20 of ours from step 500 on (below)`` where it lies farther out than one more seed of ours
        would; else ``a typical seed``, or ``an unusual seed`` where it lies outside more often than that."""
        if self.reason:
            return self.reason
        gone = f"; {self.diverged} of {self.seeds} seeds diverged" if self.diverged else ""
        few = self.seeds < FEW
        if not self.out:
            within = f"within the range of {self.seeds} seeds (few)" if few else "a typical seed"
            steps = {look.step for look in self.looks}
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
        steps = sorted({look.step for look in self.looks})
        return where(steps, {look.step for look in self.out})

    @property
    def _side(self) -> str:
        sides = {look.side for look in self.out}
        side = "on both sides" if len(sides) > 1 else "above" if 1 in sides else "below"
        edges, out = ({look.edge for look in looks} for looks in (self.looks, self.out))
        if edges == out:
            return side
        return f"{side}; {', '.join(sorted(out)) if len(out) == 1 else f'{len(out)} of {len(edges)} lengths'}"


def where(steps: Sequence[float], out: set[float]) -> str:
    """Which of the steps looked at, in words; `out` is not empty."""
    found = [step in out for step in steps]
    first, last, count = found.index(True), len(found) - 1 - found[::-1].index(True), sum(found)
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
    """Share of `ours` below a value, those within the tolerance counted by half; NaN where there are none.

    Arguments:
        ours: (n,); what is not finite is left out.
    """
    known = ours[np.isfinite(ours)]
    if not len(known) or not np.isfinite(value):
        return np.nan
    ties = np.abs(known - value) <= tolerance
    return float(((known < value) & ~ties).mean() + ties.mean() / 2)


def looks(aligned: Aligned) -> tuple[RankSample, ...]:
    """At a few steps, every edge: where at least two seeds and the paper have a value."""
    found = []
    for at in chosen(aligned.steps):
        for edge, name in enumerate(aligned.edges):
            paper, ours = float(aligned.paper[edge, at]), aligned.ours[edge, :, at]
            known = ours[np.isfinite(ours)]
            if len(known) < 2 or not np.isfinite(paper):
                continue
            low, high = float(known.min()), float(known.max())
            side = int(paper > high + aligned.tolerance) - int(paper < low - aligned.tolerance)
            share = rank(paper, known, aligned.tolerance)
            value, least, most = map(float, aligned.plain(np.array([paper, low, high])))
            found.append(
                RankSample(float(aligned.steps[at]), name, share, len(known), value, least, most, side)
            )
    return tuple(found)


def as_far(aligned: Aligned) -> int:
    """How many of our seeds lie as far outside all others as the paper's lies outside ours.

    How far a curve lies outside others is what it lies beyond their range, in units of that range, averaged over
    the looks and edges at which it has a value.
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
    """(curves,): how far each lies outside all the others."""
    known = np.isfinite(pool)
    low = np.sort(np.where(known, pool, np.inf), axis=0)[:2]
    high = np.sort(np.where(known, pool, -np.inf), axis=0)[::-1][:2]
    least = np.where(pool == low[0], low[1], low[0])  # of the others
    most = np.where(pool == high[0], high[1], high[0])
    beyond = np.maximum(np.maximum(pool - most, least - pool) - tolerance, 0)
    beyond = np.where(known, beyond / (most - least + tolerance + _TINY), 0)
    return np.asarray(beyond.sum(axis=1) / np.maximum(known.sum(axis=1), 1))


def chosen(steps: Floats) -> list[int]:
    """Indices of the steps that are looked at: those nearest to `SHARES` of the way."""
    if not len(steps):
        return []
    wanted = steps[0] + np.array(SHARES) * (steps[-1] - steps[0])
    return sorted({int(np.abs(steps - one).argmin()) for one in wanted})


def smoothed(aligned: Aligned, half: int) -> Aligned:
    """Means over `half` steps to both sides, over fewer towards the ends, so that nothing is moved; of the paper's
    and of ours alike."""

    def over(values: Floats) -> Floats:
        last = values.shape[-1] - 1
        means = []
        for i in range(last + 1):
            reach = min(half, i, last - i)
            means.append(values[..., i - reach : i + reach + 1].mean(axis=-1))
        return np.stack(means, axis=-1)

    if not len(aligned.steps):
        return aligned
    return replace(aligned, paper=over(aligned.paper), ours=over(aligned.ours))


def spacing(x: Floats) -> float:
    """The distance between the paper's samples: every one but the last is at a multiple of it, also where some
    were lost."""
    return float(np.gcd.reduce(np.rint(x[:-1]).astype(np.int64))) if len(x) > 2 else 0.0


@dataclass(frozen=True, slots=True)
class ReportPanel(ChartData):
    """A panel of a figure."""

    ranks: tuple[PaperRank, ...] = ()
    """Where the paper's curves lie among the seeds."""
    first_seed: bool = False
    """Whether its lines are of the first seed alone."""


@dataclass(frozen=True, slots=True)
class ReportPicture(Picture):
    """A figure."""

    panels: tuple[ReportPanel, ...]

    @property
    def ranks(self) -> tuple[PaperRank, ...]:
        """Of all panels."""
        return tuple(rank for panel in self.panels for rank in panel.ranks)
