"""Distributions of a layer's outputs over time, a histogram for each run, and their means and variances."""

from __future__ import annotations

from collections.abc import Iterable

from textual.containers import Horizontal
from textual.widget import Widget

from bntui.chart.heat_picture import draw_histogram
from bntui.chart.widget import Chart
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
    TAB, FOCUS = "activations", "RunPlots Plot"

    def body(self) -> Iterable[Widget]:
        yield RunPlots(draw_histogram)
        with Horizontal(id="moments"):
            for key in MOMENTS:
                yield Chart(id=f"moment-{key}")

    def show_page(self, snapshot: Snapshot) -> None:
        fields = histograms(self.selection.drawn(snapshot), self.panel_state())
        self.query_one(RunPlots).show(fields, self.selection.run(snapshot))
        runs = self.selection.shown(snapshot)
        for key in MOMENTS:
            self.query_one(f"#moment-{key}", Chart).show(PANELS[key].make(runs, self.panel_state()))
