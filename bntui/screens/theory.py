"""The terms of Theorem 4.1 in the selected run: over the steps for one layer, and over the layers at one step."""

from __future__ import annotations

from collections.abc import Iterable

from textual.widget import Widget

from bntui.chart.widget import Chart
from bntui.live.snapshot import Snapshot
from bntui.live.theory import theory_over_layers, theory_over_steps
from bntui.screens.runs import RunsPage


class TheoryPage(RunsPage):
    """Two charts of one run; a curve is a term of the theorem."""

    TAB, FOCUS = "theory", "#over-steps"

    def body(self) -> Iterable[Widget]:
        yield Chart(id="over-steps")
        yield Chart(id="over-layers")

    def show_page(self, snapshot: Snapshot) -> None:
        view = self.selection.run(snapshot)
        if view is not None:
            self.query_one("#over-steps", Chart).show(theory_over_steps(view, self.panel_state()))
            self.query_one("#over-layers", Chart).show(theory_over_layers(view, self.panel_state()))

    def pointed(self) -> None:
        self.show_again()
