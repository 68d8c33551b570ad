"""One number of a run: what claims are weighed by. None where the run did not measure it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bncore.report.runs import ReportRun
from bncore.report.statistics import Estimate, estimate, paired

Floats = NDArray[np.float64]

EARLY = 0.2
"""Share of a run's updates that counts as early: later, effective beta reads back 2/lr or 1/a_min."""
LATE = 0.1
"""Share of a run's updates, at its end, over which a final value is averaged."""
FEWEST = 3
"""Measurements in a part of a run for a mean over that part."""
SAME_LINE = 0.05
"""How near to 2/lr or 1/a_min, relatively, beta counts as reading it back."""


@dataclass(frozen=True)
class Quantity:
    """A number of a run, and what must be alike in two runs for it to be compared."""

    name: str
    of: Callable[[ReportRun], float | None]
    basis: Callable[[ReportRun], Hashable] = lambda run: None


def value_of(quantity: Quantity, runs: Sequence[ReportRun]) -> tuple[float, Hashable] | None:
    """The quantity of the first of a seed's runs that measured it, with its basis."""
    for run in runs:
        value = quantity.of(run)
        if value is not None and np.isfinite(value):
            return value, quantity.basis(run)
    return None


def values_of(quantity: Quantity, runs: Mapping[int, Sequence[ReportRun]]) -> dict[int, float]:
    """By seed."""
    found = {seed: value_of(quantity, ones) for seed, ones in runs.items()}
    return {seed: value[0] for seed, value in found.items() if value is not None}


def difference(
    quantity: Quantity, ours: Mapping[int, Sequence[ReportRun]], theirs: Mapping[int, Sequence[ReportRun]]
) -> Estimate | None:
    """The paired difference ours - theirs over the seeds of both; pairs on different bases are left out."""
    mine: dict[int, float] = {}
    others: dict[int, float] = {}
    for seed in ours.keys() & theirs.keys():
        a, b = value_of(quantity, ours[seed]), value_of(quantity, theirs[seed])
        if a is not None and b is not None and a[1] == b[1]:
            mine[seed], others[seed] = a[0], b[0]
    return paired(mine, others)


def level(quantity: Quantity, runs: Mapping[int, Sequence[ReportRun]]) -> Estimate | None:
    """The quantity itself over the seeds."""
    return estimate(values_of(quantity, runs))


def final_accuracy(run: ReportRun) -> float | None:
    """Training accuracy over the last tenth; of a run that diverged that of its beginning: it learnt nothing
    that it could keep."""
    steps, values = rows(run, "step", "accuracy")
    return _final(run, steps, values)


def final_test_accuracy(run: ReportRun) -> float | None:
    """The last test accuracy; of a run that diverged its first."""
    _, values = rows(run, "eval", "test_accuracy")
    return None if not len(values) else float(values[0] if run.diverged else values[-1])


def mean_accuracy(run: ReportRun) -> float | None:
    """Training accuracy over the whole run: the area under its curve, higher where training is faster."""
    _, values = rows(run, "step", "accuracy")
    if not len(values):
        return None
    return float(values[0] if run.diverged else values.mean())


def learnt(run: ReportRun) -> float | None:
    """How far final training accuracy is above that of the first batch."""
    final = final_accuracy(run)
    _, values = rows(run, "step", "accuracy")
    return None if final is None else final - float(values[0])


def final_log_loss(run: ReportRun) -> float | None:
    """log10 of the training loss over the last tenth, relative to the first; 0 for a run that diverged."""
    steps, values = rows(run, "step", "loss")
    final = _final(run, steps, values)
    if final is None or not values[0] > 0 or not final > 0:
        return None
    return float(np.log10(final / values[0]))


def mean_log_loss(run: ReportRun) -> float | None:
    """log10 of the loss relative to the first, over the whole run: lower where training is faster."""
    _, values = rows(run, "step", "loss")
    if not len(values) or not values[0] > 0:
        return None
    if run.diverged:
        return 0.0
    with np.errstate(all="ignore"):
        logs = np.log10(values / values[0])
    return _mean(logs)


def mean_log(
    table: str, field: str, *, first: float = 0.0, last: float = 1.0
) -> Callable[[ReportRun], float | None]:
    """Mean log10 of a field over its measurements in a part of the run, and over the layers."""

    def of(run: ReportRun) -> float | None:
        values = _part(run, table, field, first, last)
        with np.errstate(all="ignore"):
            return _mean(np.log10(values))

    return of


def mean_plain(table: str, field: str) -> Callable[[ReportRun], float | None]:
    """Mean of a field over its measurements, and over the layers."""
    return lambda run: _mean(_part(run, table, field, 0.0, 1.0))


def log_relative_at_lr(first: float = 0.0, last: float = 1.0) -> Callable[[ReportRun], float | None]:
    """Mean log10 of ||dg||/||g|| at the step length nearest to the learning rate: scale-free."""

    def of(run: ReportRun) -> float | None:
        _, multiples = rows(run, "probe:landscape", "multiples")
        values = _part(run, "probe:landscape", "relative", first, last)
        if multiples.ndim != 2 or values.ndim != 2 or not len(values):
            return None
        with np.errstate(all="ignore"):
            return _mean(np.log10(values[:, int(np.abs(np.log(multiples[-1])).argmin())]))

    return of


def log_band(run: ReportRun) -> float | None:
    """Mean log10 of the width of the loss band, over the loss at its middle: how far a step can move the loss."""
    low = _part(run, "probe:landscape", "loss_min", 0.0, 1.0)
    high = _part(run, "probe:landscape", "loss_max", 0.0, 1.0)
    if low.shape != high.shape:
        return None
    with np.errstate(all="ignore"):
        return _mean(np.log10((high - low) / (np.abs(high + low) / 2)))


def late_reading(run: ReportRun) -> float | None:
    """Share of the measurements after the early part in which beta lies on 2/lr or on 1/a_min."""
    beta = _part(run, "probe:landscape", "beta", EARLY, 1.0)
    lines = [_part(run, "probe:landscape", name, EARLY, 1.0) for name in ("two_over_lr", "one_over_a_min")]
    if not len(beta) or any(line.shape != beta.shape for line in lines):
        return None
    near = [np.abs(beta - line) <= SAME_LINE * line for line in lines]
    return float((near[0] | near[1]).mean())


def largest(table: str, field: str) -> Callable[[ReportRun], float | None]:
    """The largest value of a field over measurements and layers."""

    def of(run: ReportRun) -> float | None:
        _, values = rows(run, table, field)
        known = values[np.isfinite(values)]
        return float(known.max()) if known.size else None

    return of


def share(table: str, left: str, right: str = "") -> Callable[[ReportRun], float | None]:
    """Share of measurements and layers in which the field `left` exceeds the field `right`, or zero."""

    def of(run: ReportRun) -> float | None:
        a = rows(run, table, left)[1]
        b = rows(run, table, right)[1] if right else np.zeros_like(a)
        return float((a > b).mean()) if a.size and a.shape == b.shape else None

    return of


def mean_log_ratio(table: str, over: str, under: str) -> Callable[[ReportRun], float | None]:
    """Mean log10 of one field over another, over measurements and layers."""

    def of(run: ReportRun) -> float | None:
        a, b = rows(run, table, over)[1], rows(run, table, under)[1]
        if a.shape != b.shape:
            return None
        with np.errstate(all="ignore"):
            return _mean(np.log10(a / b))

    return of


def rows(run: ReportRun, table: str, field: str) -> tuple[Floats, Floats]:
    """Steps and values of a field; both empty where there is none."""
    series = run.columns.series(table, field)
    return series.steps.astype(np.float64), series.values


def as_in_the_paper(run: ReportRun, table: str) -> bool:
    """Whether an instrument was set to measure what the claims are about: the landscape along the gradient, ICS of
    the update that was made."""
    if run.spec is None:
        return True
    probes = run.spec.probes
    return {
        "probe:landscape": probes.landscape.direction == "gradient",
        "probe:ics": probes.ics.rescale == 0,
    }.get(table, True)


def measured_as(table: str, of: Callable[[ReportRun], float | None]) -> Callable[[ReportRun], float | None]:
    """`of`, for runs that measured a table as in the paper; None for the others."""
    return lambda run: of(run) if as_in_the_paper(run, table) else None


def probe_basis(name: str) -> Callable[[ReportRun], Hashable]:
    """What of a probe's settings changes what it measures, or the steps that a mean is over."""

    def of(run: ReportRun) -> Hashable:
        if run.spec is None:
            return None
        probe = getattr(run.spec.probes, name).model_dump()
        asked = [
            (event["step"], path, value)
            for event in run.columns.events
            if event["type"] == "request" and event.get("outcome") == "applied"
            for path, value in ((event.get("command") or {}).get("changes") or {}).items()
            if str(path).startswith(f"probes.{name}.")
        ]
        return repr((asked, {k: v for k, v in probe.items() if k not in ("floor_every", "group")}))

    return of


def _part(run: ReportRun, table: str, field: str, first: float, last: float) -> Floats:
    """The values measured between two shares of the run's updates; of ICS without the first layer's, below which
    nothing moves."""
    steps, values = rows(run, table, field)
    total = run.spec.steps if run.spec else max(run.step, 1)
    kept = values[(steps >= first * total) & ((steps < last * total) | (last >= 1))]
    if len(kept) < FEWEST and (first > 0 or last < 1):
        kept = kept[:0]
    if kept.ndim != 2 or table != "probe:ics":
        return kept
    _, layers = rows(run, table, "layers")
    numbers = (
        layers[-1]
        if layers.ndim == 2 and layers.shape[1] == kept.shape[1]
        else np.arange(1, kept.shape[1] + 1)
    )
    return kept[:, numbers > 1]


def _final(run: ReportRun, steps: Floats, values: Floats) -> float | None:
    if not len(values):
        return None
    if run.diverged:
        return float(values[0])
    return float(values[steps >= steps[-1] - LATE * (steps[-1] - steps[0])].mean())


def _mean(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None
