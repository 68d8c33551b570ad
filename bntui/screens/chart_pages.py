"""Pages with fixed charts: one measure across all layers, the theorem, activations, differences."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import ClassVar

from rich.text import Text
from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import Static

from bntui.chart.heat_picture import draw_heat, draw_histogram
from bntui.chart.widget import Chart
from bntui.live.compare import difference
from bntui.live.layers import INSTRUMENTS, heats, histograms, profile, theory_over_layers, theory_over_steps
from bntui.live.panels import PANELS
from bntui.live.snapshot import Snapshot
from bntui.screens.runs import RunsPage
from bntui.widgets import formatting as fmt
from bntui.widgets.charts import RunPlots


class MeasurePage(RunsPage):
    """A page that shows one of several measures."""

    MEASURES: ClassVar[Collection[str]]
    measure: str

    def action_measure(self, by: int) -> None:
        keys = list(self.MEASURES)
        self.measure = keys[(keys.index(self.measure) + by) % len(keys)]
        self.show_again()


class LayersPage(MeasurePage):
    """One measure across all layers: heat maps above, the profile at the crosshair below."""

    DEFAULT_CSS = """
    LayersPage #profile { height: 40%; }
    LayersPage.narrow #profile { display: none; }
    """
    TAB, FOCUS = "layers", "RunPlots Plot"
    MEASURES, measure = INSTRUMENTS, "ics_l2"

    def body(self) -> Iterable[Widget]:
        yield RunPlots(draw_heat)
        yield Chart(id="profile")

    def show_page(self, snapshot: Snapshot) -> None:
        fields = heats(self.selection.drawn(snapshot), self.measure)
        self.query_one(RunPlots).show(fields, self.selection.run(snapshot))
        runs = self.as_listed(self.selection.shown(snapshot), snapshot)
        self.query_one("#profile", Chart).show(profile(runs, self.measure, self.panel_state()))

    def pointed(self) -> None:
        self.show_again()


class TheoryPage(RunsPage):
    """The terms of Theorem 4.1 in one run: over steps for one layer, and over layers at one step."""

    DEFAULT_CSS = """
    TheoryPage #legend { height: auto; padding: 0 1; }
    """
    TAB, FOCUS = "theory", "#over-steps"

    def body(self) -> Iterable[Widget]:
        yield Static(id="legend", markup=False)
        yield Chart(id="over-steps")
        yield Chart(id="over-layers")

    def show_page(self, snapshot: Snapshot) -> None:
        view = self.selection.run(snapshot)
        if view is not None:
            self.query_one("#over-steps", Chart).show(theory_over_steps(view, self.panel_state()))
            over_layers = theory_over_layers(view, self.panel_state())
            self.query_one("#over-layers", Chart).show(over_layers)
            legend = self.query_one("#legend", Static)
            legend.display = bool(over_layers.curves)
            palette, width = fmt.palette_of(self.app), self.query_one("#page").size.width - 2
            legend.update(Text("\n").join(fmt.legend(palette, over_layers.curves, width)))

    def pointed(self) -> None:
        self.show_again()


MOMENTS = ("mean", "variance")


class ActivationsPage(RunsPage):
    """Distribution of a layer's outputs: histograms above, moments below."""

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


class ComparePage(MeasurePage):
    """Runs, possibly of several sweeps, against a reference: a measure above, the differences per step below."""

    TAB, FOCUS = "compare", "#difference"
    MEASURES, measure = PANELS, "loss"

    def body(self) -> Iterable[Widget]:
        yield Chart(id="measure")
        yield Chart(id="difference")

    def show_page(self, snapshot: Snapshot) -> None:
        runs = self.selection.shown(snapshot)
        reference = next((view for view in snapshot.runs if view.run.path == self.selection.reference), None)
        reference = reference or next(iter(snapshot.runs), None)
        if reference is None:
            return
        panel, state = PANELS[self.measure], replace(self.panel_state(), axis="step")
        self.query_one("#measure", Chart).show(panel.make(runs, state))
        minus = difference(panel, runs, reference, state)
        if not snapshot.complete and not minus.curves:
            minus = replace(minus, note="the runs are still being read")
        self.query_one("#difference", Chart).show(minus)
