"""Base class of pages with a grid of charts: the current chart and its readings."""

from __future__ import annotations

import math

import numpy as np
from textual import work

from bntui.chart.reading import position_text
from bntui.live.axes import AXES, unplaced
from bntui.screens.runs import RunsPage
from bntui.widgets.charts import ChartGrid
from bntui.widgets.sidebar import Sidebar


class GridPage(RunsPage):
    """A screen with a `ChartGrid`."""

    @property
    def grid(self) -> ChartGrid:
        return self.query_one(ChartGrid)

    def pointed(self) -> None:
        """Show in the sidebar the current chart's values at the crosshair."""
        chart = self.grid.current
        if chart is not None:
            at = float(chart.data.x_written(np.array(chart.crosshair or 0.0)))
            name = "" if chart.data.x_name == "step" else f"{chart.data.x_name} "
            title = f"At {name}{position_text(at)}: {chart.data.title}"
            self.query_one(Sidebar).read(title, at, chart.readings(self._selected_style))

    @property
    def _selected_style(self) -> int | None:
        group = self.selection.group(self.groups)
        return None if group is None else group.style

    def reading(self) -> str:
        chart = self.grid.current
        if chart is None:
            return ""
        rows = []
        for drawn, raw in chart.readings(self._selected_style):
            one = raw or drawn
            edges = (one.low, one.high) if not one.is_line else one.band or ("", "")
            mean = one.low if one.is_line else ""
            smoothed = drawn.low if raw and one.is_line else ""
            extremes = (*reversed(drawn.best or ("", "")), *(drawn.reached or ("",))[:1])
            values = (one.name, one.x, mean, *edges, smoothed, *extremes)
            rows.append(tuple("" if isinstance(v, float) and math.isnan(v) else v for v in values))
        if rows:
            titles = ("value", "low", "high", "smoothed", "best", "best at", "reached at")
            rows.insert(0, ("curve", chart.data.x_name, *titles))
        return "\n".join("\t".join(v if isinstance(v, str) else f"{v:.10g}" for v in row) for row in rows)

    def focus_page(self) -> None:
        current = self.grid.current
        if current is not None:
            current.focus(scroll_visible=False)

    @work(exclusive=True, group="layout")
    async def lay_out(self, keys: tuple[str, ...], current: str = "") -> None:
        """Show these charts and make the one with key `current` the current one."""
        await self.grid.lay_out(keys)
        self.grid.go_to(current)
        if self.focused is None:
            self.focus_page()

    def action_chart(self, by: int) -> None:
        self.grid.move(by)
        self.pointed()

    def action_maximize_chart(self) -> None:
        self.grid.toggle_maximized()

    def action_axis(self) -> None:
        axes = list(AXES)
        self.selection.axis = axes[(axes.index(self.selection.axis) + 1) % len(axes)]
        self.show_again()
        missing = unplaced(self.runs, self.selection.axis)
        self.notice(missing or f"over {AXES[self.selection.axis]}", "yellow" if missing else "")
