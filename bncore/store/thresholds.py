"""Lines beside measures; the stability threshold of a run's optimizer, of journals without it, too."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from bncore.config.measure import Measure
from bncore.config.model import Spec
from bncore.config.stability import stability_threshold, threshold_label
from bncore.figure import Floats, HLine
from bncore.store.columns import Columns

Measured = tuple[Columns, Spec | None]
"""What a run measured, and its spec where that is known."""


def thresholds(columns: Columns, table: str, spec: Spec | None) -> tuple[Floats, Floats]:
    """Steps and thresholds of the measurements of ``probe:landscape`` or ``probe:sharpness``; nan where the
    optimizer has none.

    A journal of before the field `stability_threshold` tells 2/lr alone; with the spec it is made of that.

    Arguments:
        spec: of the run; None: unknown, and 2/lr is taken for the threshold of what does not tell it.
    """
    two_over_lr = columns.series(table, "two_over_lr")
    journaled = columns.series(table, "stability_threshold")
    steps, values = two_over_lr.steps, np.array(two_over_lr.values, dtype=np.float64)
    if values.ndim != 1:
        return np.empty(0), np.empty(0)
    if spec is not None and len(journaled) < len(values):
        penalized = table == "probe:landscape" and spec.probes.landscape.penalty
        values = np.array([stability_threshold(spec.optim, 2 / two, penalized=penalized) for two in values])
    known = np.isin(steps, journaled.steps)
    values[known] = journaled.values[np.isin(journaled.steps, steps)]
    return steps.astype(np.float64), values


def reference_lines(runs: Iterable[Measured], measure: Measure) -> tuple[HLine, ...]:
    """The lines beside a measure at the runs' newest rows: each value once, with all that it is; a weight decay's
    share of a threshold makes no line of its own."""
    texts: dict[float, list[str]] = {}
    for y, text in (line for columns, spec in runs for line in _lines(columns, measure, spec)):
        near = next((known for known in texts if abs(known - y) <= 1e-3 * abs(known)), y)
        if text not in texts.setdefault(near, []):
            texts[near].append(text)
    return tuple(HLine(y, " = ".join(names)) for y, names in texts.items())


def _lines(columns: Columns, measure: Measure, spec: Spec | None) -> list[tuple[float, str]]:
    """Value and label of each, without those that the run has not."""
    found = []
    newest = columns.series(measure.table, "two_over_lr").values
    lr = lr_of(float(newest[-1])) if newest.ndim == 1 and len(newest) else None
    for line in measure.lines:
        at_edge = line.field == "stability_threshold"
        if at_edge:
            values = thresholds(columns, measure.table, spec)[1]
        else:
            values = columns.series(measure.table, line.field).values
        value = float(values[-1]) if values.ndim == 1 and len(values) else np.nan
        if not 0 < value < np.inf or (lr is None and (at_edge or line.times_lr)):
            continue
        if line.times_lr and lr:
            value = float(f"{value * lr:.3g}")
            found.append((value, f"{value:.3g}, {line.label}"))
        else:
            found.append((value, threshold_label(value, 2 / lr) if at_edge and lr else line.label))
    return found


def lr_of(two_over_lr: float) -> float | None:
    """The learning rate that a probe's `two_over_lr` tells; None where it is none to divide by."""
    return 2 / two_over_lr if np.isfinite(two_over_lr) and two_over_lr > 0 else None
