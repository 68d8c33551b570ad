"""Charts in a grid: as many as fit, with a shared range of steps and a shared crosshair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from textual import on, work
from textual.containers import Container
from textual.message import Message
from textual.widget import Widget

from bncore.figure import ChartData
from bncore.follow.run_view import RunView
from bntui.chart.view import over_one_range
from bntui.chart.widget import Chart, DrawField, FieldPlot
from bntui.live.drawing import PanelState
from bntui.live.panels import PANELS
from bntui.widgets.formatting import part_of

LEAST_WIDTH, LEAST_HEIGHT = 44, 9
"""Minimum size of a chart in cells, if there are several."""
FACET = "\0"
"""Separator between a panel's key and a facet's name."""
SHAPE = 4.5
"""Ideal ratio of width to height of a chart, in cells."""

EVERY_STEP = frozenset({"loss", "accuracy", "grad_norm"})
"""Panels of noisy values measured at every mini-batch, which are smoothed by default."""


def arrange(count: int, width: int, height: int) -> tuple[int, int]:
    """Columns and rows for up to `count` charts: all of them if they fit, in the proportions closest to ideal."""
    most_columns = max(1, min(count, width // LEAST_WIDTH))
    most_rows = max(1, min(count, height // LEAST_HEIGHT))
    if most_columns * most_rows <= count:
        return most_columns, most_rows
    fitting = [
        (columns, rows)
        for columns in range(1, most_columns + 1)
        for rows in range(1, most_rows + 1)
        if columns * rows >= count and (columns - 1) * rows < count and columns * (rows - 1) < count
    ]

    def misshapen(shape: tuple[int, int]) -> float:
        ratio = width / shape[0] / max(1.0, height / shape[1]) / SHAPE
        return max(ratio, 1 / ratio)

    return min(fitting, key=misshapen)


def facet_key(panel: str, name: str) -> str:
    """Key of the chart that shows a panel for the runs of one group."""
    return f"{panel}{FACET}{name}"


def _panel_of(key: str) -> str:
    return key.partition(FACET)[0]


def _over_one_range(data_of: Mapping[Chart, ChartData], current: Chart) -> dict[Chart, ChartData]:
    log = next(iter(data_of.values())).log_y if current.log_y is None else current.log_y
    same = {chart: replace(data, log_y=log) for chart, data in data_of.items()}
    return over_one_range(same, replace(current.view, y=None), current.smoothing)


class ChartGrid(Container):
    """The charts of a layout.

    The focused chart is the current one; where not all fit, the page of charts around it is shown.

    Arguments:
        smoothing: initial smoothing of the panels in `EVERY_STEP`.
    """

    DEFAULT_CSS = """
    ChartGrid { layout: grid; width: 1fr; height: 1fr; grid-gutter: 0; }
    """

    def __init__(self, smoothing: float = 0.0, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._smoothing = smoothing
        self._charts: dict[str, Chart] = {}
        self._runs: Sequence[RunView] = ()
        self._state: PanelState | None = None
        self._maximized = False
        self._facets: dict[str, Sequence[RunView]] = {}

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the charts, in order."""
        return tuple(self._charts)

    @property
    def current(self) -> Chart | None:
        """The focused chart, else the first one shown."""
        charts = list(self._charts.values())
        focused = [chart for chart in charts if chart is self.screen.focused]
        return next(iter(focused or [chart for chart in charts if chart.display] or charts), None)

    @property
    def current_key(self) -> str:
        """Key of the current chart's panel; empty if there is none."""
        current = self.current
        return next((_panel_of(key) for key, chart in self._charts.items() if chart is current), "")

    def facet(self, facets: Mapping[str, Sequence[RunView]]) -> None:
        """Show in each chart, by its key (`facet_key`), only some of the runs, with all charts over one range of
        values; an empty mapping shows all runs in every chart."""
        self._facets = dict(facets)

    async def lay_out(self, keys: Sequence[str]) -> None:
        """Show the charts with these keys; charts that stay keep their view."""
        gone = [key for key in self._charts if key not in keys]
        for key in gone:
            await self._charts[key].remove()
        existing = {key: self._charts[key] for key in keys if key in self._charts}
        charts = {key: existing.get(key) or self._chart(key) for key in keys}
        fresh = [chart for key, chart in charts.items() if key not in existing]
        self._charts = charts
        if fresh:
            await self.mount_all(fresh)
        order: list[Widget] = [*charts.values()]
        self.sort_children(key=order.index)
        self._place()
        self.draw()

    def _chart(self, key: str) -> Chart:
        chart = Chart(id=None if key in self._facets else f"chart-{key}")
        chart.smoothing = self._smoothing if _panel_of(key) in EVERY_STEP else 0.0
        return chart

    def show(self, runs: Sequence[RunView], state: PanelState) -> None:
        self._runs, self._state = runs, state
        self.draw()

    def draw(self) -> None:
        """Compute and show the data of the visible charts."""
        if self._state is None:
            return
        data_of = {
            chart: self._data(key, self._state)
            for key, chart in self._charts.items()
            if _panel_of(key) in PANELS and (chart.display or self._facets)
        }
        if self._facets and self.current is not None:
            data_of = _over_one_range(data_of, self.current)
        over_steps = [data for data in data_of.values() if not data.log_x]
        ends = [(c.x[0], c.x[-1]) for data in over_steps for c in data.curves if c.x.size]
        least = (float(min(e[0] for e in ends)), float(max(e[1] for e in ends))) if ends else None
        for chart, data in data_of.items():
            chart.show(data if data.log_x else replace(data, least=least))

    def _data(self, key: str, state: PanelState) -> ChartData:
        panel, _, name = key.partition(FACET)
        data = PANELS[panel].make(self._facets.get(key, self._runs), state)
        return replace(data, title=f"{name} · {data.title}") if name else data

    @on(Chart.Restyled)
    def _match(self, event: Chart.Restyled) -> None:
        """Apply the style chosen for one facet to all."""
        if self._facets:
            for chart in self._charts.values():
                chart.match(event.chart)
            self.draw()

    def move(self, by: int) -> None:
        """Move the focus by `by` charts."""
        charts = list(self._charts.values())
        current = self.current
        if current is not None:
            self._go_to(charts[min(len(charts) - 1, max(0, charts.index(current) + by))])

    def go_to(self, key: str) -> None:
        """Make this chart the current one, if it exists."""
        if key in self._charts:
            self._go_to(self._charts[key])

    def _go_to(self, chart: Chart) -> None:
        chart.display = True
        self.screen.set_focus(chart, scroll_visible=False)  # at once, unlike `chart.focus`
        self._place(chart)
        self.draw()

    def toggle_maximized(self) -> None:
        """Switch between the current chart alone and all charts."""
        current = self.current
        self._maximized = not self._maximized
        self._place(current)
        self.draw()
        if current is not None:
            current.focus(scroll_visible=False)

    def on_resize(self) -> None:
        self._place()
        self.draw()

    def _place(self, current: Chart | None = None) -> None:
        charts = list(self._charts.values())
        if not charts or not self.size.width:
            return
        current = current or self.current
        count = 1 if self._maximized else len(charts)
        columns, rows = arrange(count, self.size.width, self.size.height)
        self.styles.grid_size_columns, self.styles.grid_size_rows = columns, rows
        index = charts.index(current) if current in charts else 0
        first = index // (columns * rows) * (columns * rows)
        first = max(0, min(first, len(charts) - columns * rows))
        for index, chart in enumerate(charts):
            chart.display = first <= index < first + columns * rows


MOST = 8
"""Maximum number of plots shown at once."""


class RunPlots(Container):
    """A field plot for each run shown; where not all fit, the selected run is among those that do.

    Arguments:
        draw_field: draws the data of one run.
    """

    DEFAULT_CSS = """
    RunPlots { layout: grid; width: 1fr; height: 1fr; }
    """

    class Resized(Message):
        """The number of plots that fit may have changed."""

    def __init__(self, draw_field: DrawField) -> None:
        super().__init__()
        self._draw_field = draw_field
        self._all: tuple[Mapping[RunView, Any], RunView | None] = ({}, None)
        self._plots: dict[Path, FieldPlot] = {}
        self._runs: Sequence[RunView] = ()

    def show(self, fields: Mapping[RunView, Any], selected: RunView | None) -> None:
        """Show the data of these runs, as many as fit, with the selected one among them."""
        self._all, runs = (fields, selected), list(fields)
        columns, rows = arrange(min(MOST, len(runs)) or 1, self.size.width, self.size.height)
        self.styles.grid_size_columns, self.styles.grid_size_rows = columns, rows
        self._runs = runs[self._part(runs, selected)]
        if [view.run.path for view in self._runs] != list(self._plots):
            self._arrange()
        else:
            self._draw()

    def part(self, runs: Sequence[RunView], selected: RunView | None) -> str:
        """Which of these runs would be shown, such as ``runs 1-6 of 10``; empty if all are."""
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
