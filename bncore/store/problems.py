"""Problems of a run: non-finite evaluations, probes that never worked, probes whose gradient is not the loop's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from bncore.config.errors import escape_control
from bncore.store.columns import Columns

LOSSES = ("train_loss", "test_loss")


def not_finite(values: Mapping[str, float]) -> str:
    """The non-finite losses of an evaluation in words, such as ``test_loss is nan``; empty if all are finite."""
    bad = [f"{name} is {values[name]}" for name in LOSSES if not math.isfinite(values.get(name, 0.0))]
    return ", ".join(bad)


def evaluation_problem(columns: Columns) -> str:
    """The problem with a run's newest evaluation, in words; empty if there is none."""
    newest = {name: columns.series("eval", name).values for name in LOSSES}
    problem = not_finite({name: float(values[-1]) for name, values in newest.items() if len(values)})
    return f"the last evaluation is not finite: {problem}" if problem else ""


def fidelity_problem(columns: Columns) -> str:
    """Warning that the newest measurement of an observed loop is of a gradient other than the loop's; or empty."""
    deviation, allowed = (
        columns.series("probe:fidelity", name).values for name in ("deviation", "tolerance")
    )
    if not (len(deviation) and len(allowed)) or not deviation[-1] > allowed[-1]:
        return ""
    return f"fidelity: the probes' gradient deviates by {deviation[-1]:.2g} of its length from the loop's own"


class FirstFailure(NamedTuple):
    """A probe that failed before its first successful measurement; every text is escaped."""

    probe: str
    step: int
    reason: str

    def __str__(self) -> str:
        return f"probe {self.probe} failed at its first measurement, step {self.step:,}: {self.reason}"


def first_failures(columns: Columns) -> list[FirstFailure]:
    """Each such probe once; empty until the journal has been read completely."""
    by_probe: dict[str, FirstFailure] = {}
    for event in columns.events if columns.complete else ():
        name = str(event.get("name"))
        if event["type"] != "probe_failed" or name in by_probe:
            continue
        measured = columns.series(f"probe:{name}", "step").steps
        if not len(measured) or event["step"] < measured[0]:
            reason = escape_control(str(event.get("reason", "")))
            by_probe[name] = FirstFailure(escape_control(name), event["step"], reason)
    return list(by_probe.values())
