"""One measure across all layers: layer by step for each run, and the layers at one step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from bncore.figure import HeatData
from bncore.follow.run_view import RunView
from bntui.actions import EVERYWHERE, LAYERS, RUNS, bindings
from bntui.chart.widget import Chart, HeatMap
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
    BINDINGS: ClassVar[list[BindingType]] = bindings(LAYERS)
    SCOPES: ClassVar[tuple[str, ...]] = (LAYERS, RUNS, EVERYWHERE)
    TAB: ClassVar[str] = "layers"

    def __init__(self, context: PageContext) -> None:
        super().__init__(context)
        self._measure = "ics_l2"
        self._heats: dict[RunView, HeatData] = {}

    def body(self) -> Iterable[Widget]:
        yield RunPlots(HeatMap, self._fill)
        yield Chart(id="profile")

    def show_page(self, snapshot: Snapshot) -> None:
        runs = self.selection.drawn(snapshot)
        self._heats = heats(runs, self._measure)
        self.query_one(RunPlots).show(runs, self.selection.run(snapshot))
        runs = self.selection.shown(snapshot)
        self.query_one("#profile", Chart).show(profile(runs, self._measure, self.panel_state()))

    def focus_page(self) -> None:
        self.set_focus(next(iter(self.query(HeatMap)), None), scroll_visible=False)

    def action_measure(self, by: int) -> None:
        keys = list(INSTRUMENTS)
        self._measure = keys[(keys.index(self._measure) + by) % len(keys)]
        self.show_again()

    def _fill(self, plot: HeatMap, view: RunView) -> None:
        if view in self._heats:
            plot.show(self._heats[view])

    def pointed(self) -> None:
        self.show_again()
