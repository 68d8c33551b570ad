"""The stability threshold of a run's optimizer at every measurement, of journals that do not tell it, too."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bncore.config.model import Spec
from bncore.config.stability import stability_threshold
from bncore.store.columns import Columns

Floats = NDArray[np.float64]


def thresholds(columns: Columns, table: str, spec: Spec | None) -> tuple[Floats, Floats]:
    """Steps and thresholds of the measurements of ``probe:landscape`` or ``probe:sharpness``; nan where the
    optimizer has none.

    A journal of before the field `stability_threshold` tells 2/lr alone; with the spec it is made of that.

    Arguments:
        spec: of the run; None: unknown, and 2/lr is taken for the threshold of what does not tell it.
    """
    two_over_lr = columns.series(table, "two_over_lr")
    told = columns.series(table, "stability_threshold")
    steps, values = two_over_lr.steps, np.array(two_over_lr.values, dtype=np.float64)
    if values.ndim != 1:
        return np.empty(0), np.empty(0)
    if spec is not None and len(told) < len(values):
        penalised = table == "probe:landscape" and spec.probes.landscape.penalty
        values = np.array([stability_threshold(spec.optim, 2 / two, penalised=penalised) for two in values])
    known = np.isin(steps, told.steps)
    values[known] = told.values[np.isin(told.steps, steps)]
    return steps.astype(np.float64), values
