"""Table of the runs' resource usage, with one row per run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from bncore.follow.estimate import duration
from bncore.follow.run_view import RunView

Cell = Callable[[RunView], str]
NOTHING = "-"


def _of(name: str, form: Callable[[float], str]) -> Cell:
    def cell(view: RunView) -> str:
        value = view.machine.get(name)
        return NOTHING if value is None or not math.isfinite(value) else form(value)

    return cell


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _hundredths(share: float) -> str:
    return f"{100 * share:.0f}"


def _memory(mib: float) -> str:
    return f"{mib:,.0f} M" if mib < 10_000 else f"{mib / 1024:.1f} G"


def steps_made(view: RunView) -> str:
    """Steps made, such as ``120/400``, or ``120`` if the total is unknown."""
    return f"{view.step:,}/{view.steps:,}" if view.steps else f"{view.step:,}"


COLUMNS: dict[str, Cell] = {
    "run": lambda view: view.run.name,
    "state": lambda view: view.state,
    "steps": steps_made,
    "steps/s": lambda view: NOTHING if view.rate is None else f"{view.rate:.3g}",
    "ETA": lambda view: duration(view.eta_s),
    "CPU": _of("cpu", _percent),
    "RSS": _of("rss", _memory),
    "threads": _of("os_threads", "{:.0f}".format),
    "GPU": _of("gpu_use", _percent),
    "GPU mem": _of("gpu_memory", _memory),
    "power": _of("gpu_power", "{:.0f} W".format),
    "temp": _of("gpu_temperature", "{:.0f} °C".format),
    "data %": _of("time_data", _hundredths),
    "step %": _of("time_step", _hundredths),
    "probes %": _of("time_probes", _hundredths),
    "eval %": _of("time_evaluation", _hundredths),
    "ckpt %": _of("time_checkpoints", _hundredths),
}
"""Cell of a run by column title; titles with % are shares of the time."""
LEAST_FIRST = (
    "threads", "ckpt %", "state", "temp", "eval %", "power", "data %", "ETA", "probes %", "steps", "GPU mem",
    "step %", "RSS", "GPU", "steps/s",
)  # fmt: skip
"""Columns in the order in which they are dropped if there is too little room."""
_OF_GPUS = ("GPU", "GPU mem", "power", "temp")


def machine_table(views: Sequence[RunView]) -> tuple[list[str], list[list[str]]]:
    """Titles and rows, without GPU columns that are empty for all runs."""
    rows = [[cell(view) for cell in COLUMNS.values()] for view in views]
    kept = [
        index
        for index, title in enumerate(COLUMNS)
        if title not in _OF_GPUS or any(row[index] != NOTHING for row in rows)
    ]
    titles = list(COLUMNS)
    return [titles[index] for index in kept], [[row[index] for index in kept] for row in rows]
