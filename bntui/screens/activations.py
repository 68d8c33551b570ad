"""Distributions of a layer's outputs over time, a histogram for each run, and their means and variances."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.containers import Horizontal
from textual.widget import Widget

from bncore.figure import HistogramData
from bncore.follow.run_view import RunView
from bntui.chart.widget import Chart, HistogramView
from bntui.context import PageContext
from bntui.live.layers import histograms
from bntui.live.panels import PANELS
from bntui.live.snapshot import Snapshot
from bntui.screens.runs import RunsPage
from bntui.widgets.plots import RunPlots

MOMENTS = ("mean", "variance")


class ActivationsPage(RunsPage):
    """Histograms above, moments below."""

    DEFAULT_CSS = """
    ActivationsPage #moments { height: 40%; }
    ActivationsPage.narrow #moments { display: none; }
    """
    TAB: ClassVar[str] = "activations"

    def __init__(self, context: PageContext) -> None:
        super().__init__(context)
        self._histograms: dict[RunView, HistogramData] = {}

    def body(self) -> Iterable[Widget]:
        yield RunPlots(HistogramView, self._fill)
        with Horizontal(id="moments"):
            for key in MOMENTS:
                yield Chart(id=f"moment-{key}")

    def show_page(self, snapshot: Snapshot) -> None:
        runs = self.selection.drawn(snapshot)
        self._histograms = histograms(runs, self.panel_state())
        self.query_one(RunPlots).show(runs, self.selection.run(snapshot))
        runs = self.selection.shown(snapshot)
        for key in MOMENTS:
            self.query_one(f"#moment-{key}", Chart).show(PANELS[key].make(runs, self.panel_state()))

    def focus_page(self) -> None:
        self.set_focus(next(iter(self.query(HistogramView)), None), scroll_visible=False)

    def _fill(self, plot: HistogramView, view: RunView) -> None:
        if view in self._histograms:
            plot.show(self._histograms[view])
