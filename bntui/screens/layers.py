"""One measure across all layers: layer by step for each run, and the layers at one step."""

from __future__ import annotations

from collections.abc import Iterable

from textual.widget import Widget

from bntui.chart.heat_picture import draw_heat
from bntui.chart.widget import Chart
from bntui.context import PageContext
from bntui.live.layers import INSTRUMENTS, heats, profile
from bntui.live.snapshot import Snapshot
from bntui.screens.runs import RunsPage
from bntui.widgets.plots import RunPlots


class LayersPage(RunsPage):
    """Heat maps above, the profile at the crosshair below."""

    DEFAULT_CSS = """
    LayersPage #profile { height: 40%; }
    LayersPage.narrow #profile { display: none; }
    """
    TAB, FOCUS = "layers", "RunPlots Plot"

    def __init__(self, context: PageContext) -> None:
        super().__init__(context)
        self._measure = "ics_l2"

    def body(self) -> Iterable[Widget]:
        yield RunPlots(draw_heat)
        yield Chart(id="profile")

    def show_page(self, snapshot: Snapshot) -> None:
        fields = heats(self.selection.drawn(snapshot), self._measure)
        self.query_one(RunPlots).show(fields, self.selection.run(snapshot))
        runs = self.as_listed(self.selection.shown(snapshot), snapshot)
        self.query_one("#profile", Chart).show(profile(runs, self._measure, self.panel_state()))

    def action_measure(self, by: int) -> None:
        keys = list(INSTRUMENTS)
        self._measure = keys[(keys.index(self._measure) + by) % len(keys)]
        self.show_again()

    def pointed(self) -> None:
        self.show_again()
