"""Probes that do not work at all in a run: they failed at their first measurement."""

from __future__ import annotations

from typing import NamedTuple

from bncore.spec.errors import printable
from bncore.store.columns import Columns


class FirstFailure(NamedTuple):
    """A probe that failed before it ever measured; every text is harmless."""

    probe: str
    step: int
    reason: str

    def __str__(self) -> str:
        return f"probe {self.probe} failed at its first measurement, step {self.step:,}: {self.reason}"


def first_failures(columns: Columns) -> list[FirstFailure]:
    """Of a journal that was read whole, each such probe once; none where its beginning is still to be read."""
    found: dict[str, FirstFailure] = {}
    for event in columns.events if columns.complete else ():
        name = str(event.get("name"))
        if event["type"] != "probe_failed" or name in found:
            continue
        measured = columns.series(f"probe:{name}", "step").steps
        if not len(measured) or event["step"] < measured[0]:
            reason = printable(str(event.get("reason", "")))
            found[name] = FirstFailure(printable(name), event["step"], reason)
    return list(found.values())
