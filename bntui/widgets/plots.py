"""A plot for each run, side by side, as many as there is room for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from textual import work
from textual.containers import Container
from textual.message import Message

from bncore.follow.run_view import RunView
from bntui.chart.widget import DrawField, FieldPlot
from bntui.widgets.charts import arrange
from bntui.widgets.formatting import part_of

MOST = 8
"""Plots at once."""


class RunPlots(Container):
    """A plot of colours for every run that is shown; where there is no room for all, the selected one is.

    Arguments:
        draw_field: draws what there is of a run.
    """

    DEFAULT_CSS = """
    RunPlots { layout: grid; width: 1fr; height: 1fr; }
    """

    class Resized(Message):
        """There may be room for more plots, or for fewer."""

    def __init__(self, draw_field: DrawField) -> None:
        super().__init__()
        self._draw_field = draw_field
        self._all: tuple[Mapping[RunView, Any], RunView | None] = ({}, None)
        self._plots: dict[Path, FieldPlot] = {}
        self._runs: Sequence[RunView] = ()

    def show(self, fields: Mapping[RunView, Any], selected: RunView | None) -> None:
        """Show what there is of these runs, as many as there is room for, the selected one among them."""
        self._all, runs = (fields, selected), list(fields)
        columns, rows = arrange(min(MOST, len(runs)) or 1, self.size.width, self.size.height)
        self.styles.grid_size_columns, self.styles.grid_size_rows = columns, rows
        self._runs = runs[self._part(runs, selected)]
        if [view.run.path for view in self._runs] != list(self._plots):
            self._arrange()
        else:
            self._draw()

    def part(self, runs: Sequence[RunView], selected: RunView | None) -> str:
        """``runs 1-6 of 10``: which of these would be shown; empty where all are."""
        return part_of(range(len(runs))[self._part(runs, selected)], len(runs))

    def _part(self, runs: Sequence[RunView], selected: RunView | None) -> slice:
        columns, rows = arrange(min(MOST, len(runs)) or 1, self.size.width, self.size.height)
        index = runs.index(selected) if selected in runs else 0
        first = index // (columns * rows) * (columns * rows)
        return slice(first, first + columns * rows)

    def on_resize(self) -> None:
        self.show(*self._all)
        self.post_message(self.Resized())

    @work(exclusive=True)
    async def _arrange(self) -> None:
        wanted = [view.run.path for view in self._runs]
        for path in [path for path in self._plots if path not in wanted]:
            await self._plots.pop(path).remove()
        plots = {path: self._plots.get(path) or FieldPlot(self._draw_field) for path in wanted}
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
                plot.show(self._all[0][view])
