"""Training progress of runs, and comparisons of runs at equal steps and at equal progress.

A network that has not left its start sits on a plateau, where everything is smooth and steady; a network that has
fitted its data has vanishing gradients. Statements about training rest on measurements between the two. Since a
network that trains faster has smaller losses and gradients at the same step, networks are also compared at the
same training loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bncore.figure import Floats
from bncore.store.columns import Columns

LEFT = 0.9
"""A network has left its start once its training loss is below this share of its first loss. In the paper's Fig 4
the plain VGG turns from smooth to rough between steps 100 (beta 8, ||dg|| up to 11) and 200 (46 and 110),
while its loss falls from 0.95 to 0.88 of the first (0.91 and 0.79 without the weight penalty)."""
FITTED = 0.01
"""A network has fitted its data once its training loss is below this share of the first loss. In the paper's Fig
3a at lr 0.01, BatchNorm stays at 100 % from step 3,600 of 15,000 on, and measurements there are of vanishing
gradients."""
LATEST_START = 0.1
"""The plain network must have left its start before this share of the run, so that the run says something about
training. The paper's network leaves its start at step 200 to 300 of 15,000; cut off at step 1,000 or earlier, its
curves show only the start."""
WINDOW = 0.01
"""Share of the run, to either side, over which losses of single batches are averaged."""
LEVELS = 10
"""Number of loss intervals in which networks are compared, of equal ratio, from where both have left their start
down to the final loss of the slower one."""
FEWEST_LEVELS = 3
"""Fewest of these levels at which both networks must have been measured."""
FEWEST_STEPS = 3
"""Fewest measurements per network for a comparison at equal steps."""


@dataclass(frozen=True, eq=False)
class TrainingCurve:
    """A run's progress at each of its steps: the running minimum of its averaged training loss."""

    steps: Floats  # (n,) ascending
    values: Floats  # (n,) never rising
    first: float
    """Value at the first batch."""
    of: str = "loss"
    """Kind of the values: ``loss``, or ``error`` for the share of the batch that is misclassified."""

    def at(self, steps: Floats) -> Floats:
        """The progress at other steps: the value at the last known step not after each of them."""
        return self.values[np.maximum(np.searchsorted(self.steps, steps, side="right") - 1, 0)]

    def below(self, value: float) -> float | None:
        """The first step at which the progress is below `value`; None if it never is."""
        reached = np.flatnonzero(self.values < value)
        return float(self.steps[reached[0]]) if len(reached) else None


def training_curve(columns: Columns, total: int) -> TrainingCurve | None:
    """The progress of a run of `total` updates by its data loss or, if no loss was journaled, by the share of the
    batch that is misclassified. None if neither was journaled or the first value is not positive."""
    loss, accuracy = columns.series("step", "loss"), columns.series("step", "accuracy")
    series, values = (loss, loss.values) if len(loss) else (accuracy, 1 - accuracy.values)
    steps, finite = series.steps.astype(np.float64), np.isfinite(values)
    steps, values = steps[finite], values[finite]
    if not len(values) or not values[0] > 0:
        return None
    # A loss of 1e30 in the cumulative sum would leave no digits for the losses after it.
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
        """Make one from a journal field, averaging fields with several values per measurement (per layer)."""
        table = values.reshape(len(values), int(np.prod(values.shape[1:])))
        finite = np.isfinite(table)
        counts = finite.sum(axis=1)
        counted = counts > 0
        means = np.where(finite, table, 0.0).sum(axis=1)[counted] / counts[counted]
        return MeasuredAt(steps[counted], means)


@dataclass(frozen=True, eq=False)
class Pair:
    """Two runs with the same seed, compared while both train."""

    ours: TrainingCurve
    theirs: TrainingCurve
    total: int
    """Planned number of updates."""

    @property
    def start(self) -> float:
        """The loss of a network that has learned nothing: the smaller of the two first losses, since a network
        with a norm or with noise may start above it."""
        return min(self.ours.first, self.theirs.first)

    @property
    def training(self) -> tuple[float, float] | None:
        """The first and last step of the range in which both have left their start and neither has fitted its
        data; None if there is no such range."""
        left = [curve.below(LEFT * self.start) for curve in (self.ours, self.theirs)]
        fitted = [curve.below(FITTED * self.start) for curve in (self.ours, self.theirs)]
        if None in left:
            return None
        first = max(step for step in left if step is not None)
        last = min((step for step in fitted if step is not None), default=float(self.total))
        return (first, last) if first < last else None

    def at_equal_steps(self, ours: MeasuredAt, theirs: MeasuredAt, *, until: float = 1.0) -> float | None:
        """The mean of ours minus the mean of theirs while both train, within the first `until` share of the run.
        None if either was measured fewer than `FEWEST_STEPS` times there."""
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
        """The difference ours - theirs at the same training loss, averaged over the loss levels at which both were
        measured, out of `LEVELS` of equal ratio. None if there are fewer than `FEWEST_LEVELS`."""
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
    """Mean of the values measured within each loss level; NaN for a level without values.

    Arguments:
        progress: (n,), the training loss at each value.
        edges: (levels + 1,), bounds of the levels, descending.
    """
    means = np.full(len(edges) - 1, np.nan)
    for level, (high, low) in enumerate(pairwise(edges)):
        within = values[(progress <= high * (1 + 1e-12)) & (progress >= low * (1 - 1e-12))]
        if len(within):
            means[level] = within.mean()
    return means
