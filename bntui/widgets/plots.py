"""A plot for each run, side by side, as many as there is room for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from textual import on, work
from textual.containers import Container

from bncore.follow.run_view import RunView
from bntui.chart.plot import Plot
from bntui.widgets.charts import arrange, mirror

MOST = 8
"""Plots at once."""


class RunPlots(Container):
    """A plot of one kind for every run that is shown; where there is no room for all, the selected one is.

    Arguments:
        make: makes an empty plot.
        show: fills it with what there is of a run.
    """

    DEFAULT_CSS = """
    RunPlots { layout: grid; width: 1fr; height: 1fr; }
    """

    def __init__(self, make: Callable[[], Plot], show: Callable[[Any, RunView], None]) -> None:
        super().__init__()
        self._make = make
        self._fill = show
        self._plots: dict[Path, Plot] = {}
        self._runs: Sequence[RunView] = ()

    def show(self, runs: Sequence[RunView]) -> None:
        """Show these runs, the last of which is never left out."""
        ordered = sorted(runs, key=lambda view: view.style)
        columns, rows = arrange(min(MOST, len(runs)) or 1, self.size.width, self.size.height)
        self.styles.grid_size_columns, self.styles.grid_size_rows = columns, rows
        first = ordered.index(runs[-1]) // (columns * rows) * (columns * rows) if runs else 0
        self._runs = ordered[first : first + columns * rows]
        if [view.run.path for view in self._runs] != list(self._plots):
            self._arrange()
        else:
            self._draw()

    def on_resize(self) -> None:
        self.show(sorted(self._runs, key=lambda view: view is self._runs[-1]))

    @work(exclusive=True)
    async def _arrange(self) -> None:
        wanted = [view.run.path for view in self._runs]
        for path in [path for path in self._plots if path not in wanted]:
            await self._plots.pop(path).remove()
        plots = {path: self._plots.get(path) or self._make() for path in wanted}
        fresh = [plot for path, plot in plots.items() if path not in self._plots]
        self._plots = plots
        if fresh:
            await self.mount_all(fresh)
        order = list(plots.values())
        self.sort_children(key=lambda child: order.index(child) if child in order else 0)
        self._draw()

    def _draw(self) -> None:
        for view in self._runs:
            plot = self._plots.get(view.run.path)
            if plot is not None and plot.is_attached:
                self._fill(plot, view)

    @on(Plot.CrosshairMoved)
    @on(Plot.ViewChanged)
    def _mirror(self, event: Plot.CrosshairMoved | Plot.ViewChanged) -> None:
        mirror(event, self._plots.values())
