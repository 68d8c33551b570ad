"""Evaluations whose numbers are no result."""

from __future__ import annotations

import math
from collections.abc import Mapping

from bncore.store.columns import Columns

LOSSES = ("train_loss", "test_loss")


def not_finite(values: Mapping[str, float]) -> str:
    """Which losses of an evaluation are no numbers, ``test_loss is nan``; empty where they all are."""
    bad = [f"{name} is {values[name]}" for name in LOSSES if not math.isfinite(values.get(name, 0.0))]
    return ", ".join(bad)


def evaluation_problem(columns: Columns) -> str:
    """What is wrong with a run's newest evaluation, in words; empty where nothing is."""
    newest = {name: columns.series("eval", name).values for name in LOSSES}
    said = not_finite({name: float(values[-1]) for name, values in newest.items() if len(values)})
    return f"the last evaluation is not finite: {said}" if said else ""
