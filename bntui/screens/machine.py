"""Resource usage of the runs: a table of the newest figures, and charts over time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.text import Text
from textual.widget import Widget
from textual.widgets import Static

from bncore.follow.groups import Group
from bncore.follow.run_view import RunView
from bncore.store.machine_log import MACHINE as TABLE
from bncore.store.status import LIVE
from bntui.chart.palette import Palette
from bntui.fitting import columns_within
from bntui.live.panels import PANELS
from bntui.live.snapshot import Snapshot
from bntui.live.usage_table import LEAST_FIRST, machine_table
from bntui.screens.grid import GridPage
from bntui.widgets import formatting as fmt
from bntui.widgets.charts import ChartGrid
from bntui.widgets.listing import Listing, ListRow

GAP = 2
WORDS = ("run", "state")
"""Columns of the table that hold no numbers."""
FIRST = ("steps_per_second", "cpu", "rss", "time_step")
"""Charts to show where there is no room for all."""
KEYS = (*FIRST, *(key for key, panel in PANELS.items() if panel.measure.table == TABLE and key not in FIRST))
ON_GPU = tuple(key for key in KEYS if key.startswith("gpu_"))


class MachinePage(GridPage):
    """The table above, charts below."""

    DEFAULT_CSS = """
    MachinePage #figures { height: auto; max-height: 35%; }
    MachinePage #unrecorded { height: 1fr; content-align: center middle; color: $foreground 60%; }
    """
    TAB = "machine"

    def body(self) -> Iterable[Widget]:
        yield Listing(id="figures", focusable=False, classes="titled")
        yield Static("no resource use was recorded for these runs", id="unrecorded")
        yield ChartGrid(self.context.settings.smoothing, id="grid")

    def on_mount(self) -> None:
        self.query_one("#figures").border_title = "Newest figures"

    def show_page(self, snapshot: Snapshot) -> None:
        runs = self.selection.shown(snapshot)
        keys = charts_of(runs)
        self.query_one("#unrecorded").display = not keys
        self.grid.display = bool(keys)
        if self.grid.keys != keys:
            self.lay_out(keys)
        self.grid.show(runs, self.panel_state())
        figures = self.query_one("#figures", Listing)
        figures.show(figure_rows(fmt.palette_of(self.app), self.groups, figures.text_width))
        figures.key = str(self.selection.selected or "")
        self.pointed()


def charts_of(runs: Sequence[RunView]) -> tuple[str, ...]:
    """Keys of the charts; a GPU chart only if a run recorded its field, and none if no run recorded anything."""
    measured = {name for view in runs for name in view.machine}
    keys = KEYS if measured else ()
    return tuple(key for key in keys if key not in ON_GPU or PANELS[key].measure.field in measured)


def figure_rows(palette: Palette, groups: Sequence[Group], width: int) -> list[ListRow]:
    """A header, and a row per run in the color of its group, live runs first; only the columns that fit."""
    listed = [(view, group.style) for group in groups for view in group.runs]
    listed.sort(key=lambda one: one[0].state not in LIVE)
    titles, rows = machine_table([view for view, _ in listed])
    rows = [[view.name, *row[1:]] for (view, _), row in zip(listed, rows, strict=True)]
    columns = columns_within(width, titles, rows, LEAST_FIRST, gap=GAP)
    widths = {column: max(cell_len(row[column]) for row in (titles, *rows)) for column in columns}

    def line(cells: Sequence[str]) -> str:
        return (" " * GAP).join(
            fmt.fitted(cells[column], wide) if titles[column] in WORDS else cells[column].rjust(wide)
            for column, wide in widths.items()
        )

    lines = [ListRow(Text(line(titles), fmt.MUTED))]
    for (view, style), row in zip(listed, rows, strict=True):
        figures, name = line(row), len(view.name)
        text = Text().append(figures[:name], fmt.color(palette, style))
        text.append(figures[name:], "" if view.state in LIVE else fmt.MUTED)
        lines.append(ListRow(text, str(view.run.path)))
    return lines
