"""Where runs stand in their training, and comparisons of them at equal steps and at equal progress.

A network that has not left its start sits on a plateau, where everything is smooth and steady; one that has fitted
its data has vanishing gradients. What is said of training is measured between the two. And since whoever trains
faster has smaller losses and gradients at the same step, networks are compared at the same training loss as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bncore.figure import Floats
from bncore.store.columns import Columns

LEFT = 0.9
"""A network has left its start once its training loss is below this share of what it was at first. In the paper's
Fig 4 the plain VGG turns from smooth to rough between steps 100 (beta 8, ||dg|| up to 11) and 200 (46 and 110),
while its loss falls from 0.95 to 0.88 of the first (0.91 and 0.79 without the weight penalty)."""
FITTED = 0.01
"""A network has fitted its data once its training loss is below this share of the first: in the paper's Fig 3a at
lr 0.01 BatchNorm stands at 100 % from step 3,600 of 15,000 on, and what it measures there is of vanishing
gradients."""
LATEST_START = 0.1
"""The plain network must have left its start before this share of a run, so that the run is about training: the
paper's leaves it at step 200 to 300 of 15,000; cut off at step 1,000 or before, its curves are those of a
beginning."""
WINDOW = 0.01
"""Losses of single batches are averaged over this share of the run to either side."""
LEVELS = 10
"""Training losses at which networks are compared: equal ratios from where both have left their start to where the
slower one ends."""
FEWEST_LEVELS = 3
"""Fewest of them at which both networks were measured."""
FEWEST_STEPS = 3
"""Fewest measurements of each network for a comparison at equal steps."""


@dataclass(frozen=True, eq=False)
class TrainingCurve:
    """How far a run has come at each of its steps: its training loss, averaged, as low as it has been so far."""

    steps: Floats  # (n,) ascending
    values: Floats  # (n,) never rising
    first: float
    """That of the first batch."""
    of: str = "loss"
    """What is shown of training: ``loss``, or ``error`` for the share of the batch that is classified wrongly."""

    def at(self, steps: Floats) -> Floats:
        """The progress at other steps: that of the last one before."""
        return self.values[np.maximum(np.searchsorted(self.steps, steps, side="right") - 1, 0)]

    def below(self, value: float) -> float | None:
        """The first step from which on the loss has been below `value`; None where it never was."""
        reached = np.flatnonzero(self.values < value)
        return float(self.steps[reached[0]]) if len(reached) else None


def training_curve(columns: Columns, total: int) -> TrainingCurve | None:
    """The progress of a run of `total` updates by its data loss; where none was journaled, by the share of the
    batch that is classified wrongly. None where neither was, or the first is no positive number."""
    loss, accuracy = columns.series("step", "loss"), columns.series("step", "accuracy")
    series, values = (loss, loss.values) if len(loss) else (accuracy, 1 - accuracy.values)
    steps, known = series.steps.astype(np.float64), np.isfinite(values)
    steps, values = steps[known], values[known]
    if not len(values) or not values[0] > 0:
        return None
    # A sum that holds a loss of 1e30 has no digits left for those after it.
    bounded = np.minimum(values, values[0])
    sums = np.concatenate([[0.0], np.cumsum(bounded)])
    left = np.searchsorted(steps, steps - WINDOW * total, side="left")
    right = np.searchsorted(steps, steps + WINDOW * total, side="right")
    averaged = (sums[right] - sums[left]) / (right - left)
    kind = "loss" if len(loss) else "error"
    return TrainingCurve(steps, np.minimum.accumulate(averaged), float(values[0]), kind)


@dataclass(frozen=True)
class MeasuredAt:
    """One number per measurement, such as the log of beta."""

    steps: Floats  # (n,) ascending
    values: Floats  # (n,)

    @staticmethod
    def of(steps: Floats, values: Floats) -> MeasuredAt:
        """From a field of the journal; of one with several values per measurement (per layer), their mean."""
        table = values.reshape(len(values), int(np.prod(values.shape[1:])))
        known = np.isfinite(table)
        counts = known.sum(axis=1)
        kept = counts > 0
        means = np.where(known, table, 0.0).sum(axis=1)[kept] / counts[kept]
        return MeasuredAt(steps[kept], means)


@dataclass(frozen=True, eq=False)
class Pair:
    """Two runs of one seed, to be compared while both of them train."""

    ours: TrainingCurve
    theirs: TrainingCurve
    total: int
    """Updates that they were to make."""

    @property
    def start(self) -> float:
        """The loss of a network that has learnt nothing: the smaller one of the first two, since a network with a
        norm or with noise may begin above it."""
        return min(self.ours.first, self.theirs.first)

    @property
    def training(self) -> tuple[float, float] | None:
        """The first and the last step between which both have left their start and neither has fitted its data;
        None where there are no such steps."""
        left = [curve.below(LEFT * self.start) for curve in (self.ours, self.theirs)]
        fitted = [curve.below(FITTED * self.start) for curve in (self.ours, self.theirs)]
        if None in left:
            return None
        first = max(step for step in left if step is not None)
        last = min((step for step in fitted if step is not None), default=float(self.total))
        return (first, last) if first < last else None

    def at_equal_steps(self, ours: MeasuredAt, theirs: MeasuredAt, *, until: float = 1.0) -> float | None:
        """The mean of ours less that of theirs while both train, before that share of the run; None where one of
        them was measured less than `FEWEST_STEPS` times there."""
        if self.training is None:
            return None
        first, last = self.training
        last = min(last, until * self.total)
        means = []
        for one in (ours, theirs):
            within = one.values[(one.steps >= first) & (one.steps <= last)]
            if len(within) < FEWEST_STEPS:
                return None
            means.append(float(within.mean()))
        return means[0] - means[1]

    def at_equal_progress(self, ours: MeasuredAt, theirs: MeasuredAt) -> float | None:
        """The difference ours - theirs at the same training loss, averaged over the losses at which both were
        measured: `LEVELS` of equal ratio. None where they are fewer than `FEWEST_LEVELS`."""
        high = min(LEFT * self.start, self.ours.values[0], self.theirs.values[0])
        low = max(self.ours.values[-1], self.theirs.values[-1], FITTED * self.start)
        if not low < high:
            return None
        edges = np.geomspace(high, low, LEVELS + 1)
        mine = _by_level(self.ours.at(ours.steps), ours.values, edges)
        other = _by_level(self.theirs.at(theirs.steps), theirs.values, edges)
        shared = np.isfinite(mine) & np.isfinite(other)
        return float((mine - other)[shared].mean()) if shared.sum() >= FEWEST_LEVELS else None


def _by_level(progress: Floats, values: Floats, edges: Floats) -> Floats:
    """The mean of the values measured between each two neighbouring losses; NaN where there is none.

    Arguments:
        progress: (n,), the training loss at each value.
        edges: (levels + 1,), descending.
    """
    means = np.full(len(edges) - 1, np.nan)
    for level, (high, low) in enumerate(pairwise(edges)):
        within = values[(progress <= high * (1 + 1e-12)) & (progress >= low * (1 - 1e-12))]
        if len(within):
            means[level] = within.mean()
    return means
