"""Quantities by which claims are judged: one number per run, or None if the run did not measure it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bncore.figure import Floats
from bncore.report.progress import MeasuredAt, Pair
from bncore.report.report_run import ReportRun
from bncore.report.statistics import Estimate, estimate, paired
from bncore.store.dropped_requests import changes_of
from bncore.store.measured import numbers_of_layers, thresholds

EARLY = 0.2
"""Share of a run's updates that counts as early; later, effective beta merely reads back 2/lr or 1/a_min."""
LATE = 0.1
"""Share of a run's updates, at its end, over which final values are averaged."""
FEWEST = 3
"""Fewest measurements for a mean over part of a run."""
SAME_LINE = 0.05
"""Relative distance from 2/lr or 1/a_min within which beta counts as reading it back."""

PerMeasurement = Callable[[ReportRun], MeasuredAt]
"""Maps a run to one number per measurement; empty if the run did not measure it."""


@dataclass(frozen=True)
class Quantity:
    """One number per run, and the basis that two runs must share for it to be compared."""

    name: str
    of: Callable[[ReportRun], float | None]
    basis: Callable[[ReportRun], Hashable] = lambda run: None
    log: bool = False
    """Whether the value is a log10, to be shown as the number itself."""


@dataclass(frozen=True)
class Trace:
    """One number per measurement of a run, and the basis that two runs must share for it to be compared."""

    name: str
    of: PerMeasurement
    basis: Callable[[ReportRun], Hashable] = lambda run: None

    def first(self, runs: Sequence[ReportRun]) -> tuple[ReportRun, MeasuredAt, Hashable] | None:
        """The first of a seed's runs that measured the trace, with its measurements and their basis."""
        for run in runs:
            measured = self.of(run)
            if len(measured.steps):
                return run, measured, self.basis(run)
        return None


def value_of(quantity: Quantity, runs: Sequence[ReportRun]) -> tuple[float, Hashable] | None:
    """The quantity's value in the first of a seed's runs that measured it, with its basis."""
    for run in runs:
        value = quantity.of(run)
        if value is not None and np.isfinite(value):
            return value, quantity.basis(run)
    return None


def values_of(quantity: Quantity, runs: Mapping[int, Sequence[ReportRun]]) -> dict[int, float]:
    """The quantity's values by seed; seeds that did not measure it are left out."""
    by_seed = {seed: value_of(quantity, ones) for seed, ones in runs.items()}
    return {seed: value[0] for seed, value in by_seed.items() if value is not None}


def difference(
    quantity: Quantity, ours: Mapping[int, Sequence[ReportRun]], theirs: Mapping[int, Sequence[ReportRun]]
) -> Estimate | None:
    """The paired difference ours - theirs over common seeds; pairs with different bases are left out."""
    mine: dict[int, float] = {}
    others: dict[int, float] = {}
    for seed in ours.keys() & theirs.keys():
        a, b = value_of(quantity, ours[seed]), value_of(quantity, theirs[seed])
        if a is not None and b is not None and a[1] == b[1]:
            mine[seed], others[seed] = a[0], b[0]
    return paired(mine, others)


def level(quantity: Quantity, runs: Mapping[int, Sequence[ReportRun]]) -> Estimate | None:
    """The quantity's estimate over the seeds."""
    return estimate(values_of(quantity, runs))


def final_accuracy(run: ReportRun) -> float | None:
    """Training accuracy over the last tenth. For a diverged run, its first value: nothing it learned was kept."""
    return _final(run, *rows(run, "step", "accuracy"))


def final_test_accuracy(run: ReportRun) -> float | None:
    """The last test accuracy; for a diverged run, the first."""
    _, values = rows(run, "eval", "test_accuracy")
    return None if not len(values) else float(values[0] if run.diverged else values[-1])


def mean_accuracy(run: ReportRun) -> float | None:
    """Training accuracy over the whole run: the area under its curve, higher where training is faster."""
    _, values = rows(run, "step", "accuracy")
    return None if not len(values) else float(values[0] if run.diverged else values.mean())


def final_log_loss(run: ReportRun) -> float | None:
    """log10 of the training loss over the last tenth; for a diverged run, of its first loss."""
    final = _final(run, *rows(run, "step", "loss"))
    return float(np.log10(final)) if final is not None and final > 0 else None


def mean_log_loss(run: ReportRun) -> float | None:
    """log10 of the loss, averaged over the run: lower where training is faster. The absolute loss, not relative to
    the first one, since a network with a norm starts higher."""
    _, values = rows(run, "step", "loss")
    with np.errstate(all="ignore"):
        return _mean(np.log10(values[:1] if run.diverged else values))


def mean_log_gain(run: ReportRun) -> float | None:
    """Negated `mean_log_loss`: higher where training is faster."""
    loss = mean_log_loss(run)
    return None if loss is None else -loss


def log_of(table: str, field: str) -> PerMeasurement:
    """log10 of a field, averaged over layers if it is per layer. ICS leaves out the first layer: nothing moves
    below it."""

    def of(run: ReportRun) -> MeasuredAt:
        steps, values = _moving(run, table, field)
        with np.errstate(all="ignore"):
            return MeasuredAt.of(steps, np.log10(values))

    return of


def plain_of(table: str, field: str) -> PerMeasurement:
    """Like `log_of`, without the logarithm."""
    return lambda run: MeasuredAt.of(*_moving(run, table, field))


def log_relative_at_lr(run: ReportRun) -> MeasuredAt:
    """log10 of ||dg||/||g|| at the step length nearest the learning rate; scale-free."""
    _, multiples = rows(run, "probe:landscape", "multiples")
    steps, values = rows(run, "probe:landscape", "relative")
    if values.ndim != 2 or multiples.shape != values.shape:
        return MeasuredAt(np.empty(0), np.empty(0))
    with np.errstate(all="ignore"):
        return MeasuredAt.of(steps, np.log10(values[:, int(np.abs(np.log(multiples[-1])).argmin())]))


def log_variation(run: ReportRun) -> MeasuredAt:
    """log10 of the loss range along the gradient, max L - min L over the step lengths: the band of Fig 4a."""
    steps, low = rows(run, "probe:landscape", "loss_min")
    _, high = rows(run, "probe:landscape", "loss_max")
    if low.shape != high.shape:
        return MeasuredAt(np.empty(0), np.empty(0))
    with np.errstate(all="ignore"):
        return MeasuredAt.of(steps, np.log10(high - low))


def mean_of(
    trace: PerMeasurement, *, first: float = 0.0, last: float = 1.0
) -> Callable[[ReportRun], float | None]:
    """The mean over the measurements in the part of a run from `first` to `last`, given as shares of its updates.
    For less than the whole run, None if there are fewer than `FEWEST` measurements."""

    def of(run: ReportRun) -> float | None:
        measured = trace(run)
        within = measured.values[_within(run, measured.steps, first, last)]
        few = len(within) < (FEWEST if first > 0 or last < 1 else 1)
        return None if few else float(within.mean())

    return of


def in_training(
    trace: Trace,
    ours: Mapping[int, Sequence[ReportRun]],
    theirs: Mapping[int, Sequence[ReportRun]],
    compare: Callable[[Pair, MeasuredAt, MeasuredAt], float | None],
) -> Estimate | None:
    """A comparison of two variants while both train, over the seeds common to both; pairs with different bases are
    left out."""
    by_seed: dict[int, float] = {}
    for seed in ours.keys() & theirs.keys():
        mine, other = trace.first(ours[seed]), trace.first(theirs[seed])
        if mine is None or other is None or mine[2] != other[2]:
            continue
        pair = pair_of(mine[0], other[0])
        value = compare(pair, mine[1], other[1]) if pair else None
        if value is not None:
            by_seed[seed] = value
    return estimate(by_seed)


def pair_of(ours: ReportRun, theirs: ReportRun) -> Pair | None:
    """Two runs to compare while they train; None if the progress of either is unknown or their kinds differ."""
    mine, other = ours.training, theirs.training
    return Pair(mine, other, ours.steps) if mine and other and mine.of == other.of else None


def late_reading(run: ReportRun) -> float | None:
    """Share of the measurements after the early part in which beta lies on the optimizer's stability threshold,
    2/lr for gradient descent, or on 1/a_min."""
    series = [
        rows(run, "probe:landscape", "beta"),
        thresholds(run.columns, "probe:landscape", run.spec),
        rows(run, "probe:landscape", "one_over_a_min"),
    ]
    beta, *lines = [values[_within(run, steps, EARLY, 1.0)] for steps, values in series]
    if not as_in_the_paper(run, "probe:landscape") or len(beta) < FEWEST:
        return None
    if any(line.shape != beta.shape for line in lines):
        return None
    with np.errstate(all="ignore"):  # all are infinite where the learning rate is 0
        near = [np.abs(beta - line) <= SAME_LINE * line for line in lines]
    return float((near[0] | near[1]).mean())


def of_values(
    table: str, *fields: str, by: Callable[..., Floats | np.float64]
) -> Callable[[ReportRun], float | None]:
    """`by` applied to the fields' values over measurements and layers; of an array, the mean of its finite values.
    None if a field has no values or their shapes differ."""

    def of(run: ReportRun) -> float | None:
        values = [rows(run, table, field)[1] for field in fields]
        if not values[0].size or any(one.shape != values[0].shape for one in values):
            return None
        with np.errstate(all="ignore"):
            return _mean(np.asarray(by(*values)))

    return of


def rows(run: ReportRun, table: str, field: str) -> tuple[Floats, Floats]:
    """Steps and values of a field; both empty if the run has no such field."""
    series = run.columns.series(table, field)
    return series.steps.astype(np.float64), series.values


def as_in_the_paper(run: ReportRun, table: str) -> bool:
    """Whether a probe was set up to measure what the claims are about: the landscape along the gradient, and ICS
    of the actual update."""
    if run.spec is None:
        return True
    probes = run.spec.probes
    return {
        "probe:landscape": probes.landscape.direction == "gradient",
        "probe:ics": probes.ics.rescale == 0,
    }.get(table, True)


def measured_as(table: str, trace: PerMeasurement) -> PerMeasurement:
    """`trace` for runs that measured the table as in the paper; empty for all others."""
    return lambda run: trace(run) if as_in_the_paper(run, table) else MeasuredAt(np.empty(0), np.empty(0))


def probe_basis(name: str) -> Callable[[ReportRun], Hashable]:
    """The settings of a probe that affect its measurements or the steps a mean covers."""

    def of(run: ReportRun) -> Hashable:
        if run.spec is None:
            return None
        probe = getattr(run.spec.probes, name).model_dump()
        changes = [
            (event["step"], path, value)
            for event in run.columns.events
            for path, value in changes_of(event).items()
            if path.startswith(f"probes.{name}.")
        ]
        return repr((changes, {k: v for k, v in probe.items() if k not in ("floor_every", "group")}))

    return of


def _within(run: ReportRun, steps: Floats, first: float, last: float) -> NDArray[np.bool_]:
    """Which steps lie between two shares of the run's updates."""
    return (steps >= first * run.steps) & ((steps < last * run.steps) | (last >= 1))


def _moving(run: ReportRun, table: str, field: str) -> tuple[Floats, Floats]:
    """Like `rows`, but ICS leaves out the first layer."""
    steps, values = rows(run, table, field)
    if values.ndim != 2 or table != "probe:ics":
        return steps, values
    return steps, values[:, np.array(numbers_of_layers(run.columns, table, values)) > 1]


def _final(run: ReportRun, steps: Floats, values: Floats) -> float | None:
    if not len(values):
        return None
    if run.diverged:
        return float(values[0])
    return float(values[steps >= steps[-1] - LATE * (steps[-1] - steps[0])].mean())


def _mean(values: Floats) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else None
