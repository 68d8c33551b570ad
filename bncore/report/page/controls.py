"""The controls for confounders on the page: a table each."""

from __future__ import annotations

from collections.abc import Sequence

from bncore.report.controls import ControlTable
from bncore.report.page.markup import table, tag, text
from bncore.report.statistics import Estimate


def controls(tables: Sequence[ControlTable]) -> str:
    """The section; empty where the runs hold no control."""
    if not tables:
        return ""
    parts, told = [], ""
    for one in tables:
        parts.append(_one(one, first=one.control.key != told))
        told = one.control.key
    return tag("section", tag("h2", "Controls for confounders") + "".join(parts), id="controls")


def _one(found: ControlTable, *, first: bool) -> str:
    control = found.control
    head = tag("h3", text(control.title)) + tag("p", text(control.question)) if first else ""
    rows = [(text(name), *(text(_cell(cell, log=found.log)) for cell in cells)) for name, cells in found.rows]
    caveat = tag("p", text(control.caveat), class_="fine") if control.caveat and first else ""
    return (
        head
        + tag("p", text(f"{found.quantity}; {found.network}"), class_="fine")
        + table(("", *found.columns), rows, numbers=range(1, len(found.columns) + 1))
        + caveat
    )


def _cell(cell: Estimate | None, *, log: bool) -> str:
    """Mean over seeds (of a logarithm the geometric one), the interval where there are several, and how many."""
    if cell is None:
        return "-"
    mean, low, high = (f"{10**value if log else value:.3g}" for value in (cell.mean, cell.low, cell.high))
    return f"{mean} (1 seed)" if cell.n < 2 else f"{mean} [{low}, {high}] ({cell.n} seeds)"
