"""Groups of runs as tables for other programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bncore.aggregate import aggregate
from bncore.config.measure import Band, Measure
from bncore.follow.groups import Group, members
from bncore.measures import MEASURES
from bncore.store.machine import MACHINE
from bncore.store.measured import layers_of

Columns = dict[str, NDArray[Any]]


def group_tables(groups: Sequence[Group], band: Band) -> dict[str, Columns]:
    """By journal table its measures' means and bands: a row for each group, measure, field, layer and step.

    Measures with a value for each step length are left out, and those of the machine, which are at other steps in
    every run.
    """
    found: dict[str, list[Columns]] = {}
    for group in groups:
        for measure in MEASURES.values():
            if measure.per != "length" and measure.table != MACHINE:
                found.setdefault(measure.table, []).extend(_of_measure(group, measure, band))
    return {
        table: {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for table, parts in sorted(found.items())
        if parts
    }


def _of_measure(group: Group, measure: Measure, band: Band) -> Iterator[Columns]:
    """Of a measure that is a band itself both edges."""
    layers: Sequence[int | None] = [None]
    if measure.per_layer:
        layers = sorted({number for view in group.runs for number in layers_of(view.columns, measure)})
    for field in filter(None, (measure.field, measure.high)):
        for layer in layers:
            one = replace(measure, field=field, high="")
            mean = aggregate(members(group, one, layer), band, log=measure.log)
            if n := len(mean.x):
                yield {
                    "group": np.repeat(group.name, n),
                    "measure": np.repeat(measure.key, n),
                    "field": np.repeat(field, n),
                    "layer": np.full(n, layer, dtype=object),
                    "step": mean.x.astype(np.int64),
                    "mean": mean.mean,
                    "low": mean.low,
                    "high": mean.high,
                    "band": np.repeat(band, n),
                    "average": np.repeat("geometric" if measure.log else "arithmetic", n),
                    "runs": mean.count,
                    "complete": mean.complete,
                }
