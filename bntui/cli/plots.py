"""Static plots of runs in the terminal, by plotext."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import plotext

from bncore.store.columns import Columns
from bncore.store.paths import RunDir
from bncore.store.reader import read

HEIGHT = 16
PIPED_WIDTH = 100
COLOURS = ("blue+", "orange+", "green+", "red+", "magenta+", "cyan+", "gray+", "white")


@dataclass(frozen=True)
class Panel:
    """One plot: a field over the steps, of every run that has it."""

    title: str
    table: str
    field: str
    log: bool = False


PANELS = (
    Panel("training loss", "step", "loss", log=True),
    Panel("batch accuracy", "step", "accuracy"),
    Panel("test loss", "eval", "test_loss", log=True),
    Panel("test accuracy", "eval", "test_accuracy"),
)
"""Every plot of `bnrun show`; one row adds another."""


def plots(runs: list[RunDir]) -> Iterator[str]:
    """A picture for each panel that any of the runs has data for, as wide as the terminal."""
    columns = {run.path.name: read(run).advance() for run in runs}
    sources = sorted({str(c.start["data"]) for c in columns.values() if "data" in c.start})
    for panel in PANELS:
        lines = {name: line for name, c in columns.items() if (line := _line(c, panel)) is not None}
        if lines:
            yield _draw(f"{panel.title} on {', '.join(sources)}", panel, lines)


def _line(columns: Columns, panel: Panel) -> tuple[list[float], list[float]] | None:
    """Steps and values to draw: finite ones, thinned to what a terminal can show, logarithms where asked."""
    series = columns.series(panel.table, panel.field)
    keep = np.isfinite(series.values)
    if panel.log:
        keep &= series.values > 0
    steps, values = series.steps[keep], series.values[keep]
    if not len(steps):
        return None
    every = max(1, len(steps) // 400)
    values = values[::every]
    return steps[::every].tolist(), (np.log10(values) if panel.log else values).tolist()


def _draw(title: str, panel: Panel, lines: dict[str, tuple[list[float], list[float]]]) -> str:
    on_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if on_terminal else PIPED_WIDTH
    figure = plotext
    figure.clear_figure()
    figure.theme("clear")
    figure.plotsize(width, HEIGHT)
    figure.title(title)
    figure.xlabel("step")
    if panel.log:
        figure.ylabel("log10")
    for colour, (name, (steps, values)) in zip(COLOURS * len(lines), lines.items(), strict=False):
        figure.plot(steps, values, label=name, color=colour, marker="braille")
    picture = str(figure.build())
    return picture if on_terminal else str(figure.uncolorize(picture))
