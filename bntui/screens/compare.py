"""Runs of any sweeps against one of them: a measure of all of them, and the differences step by step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from textual.widget import Widget

from bntui.chart.widget import Chart
from bntui.context import PageContext
from bntui.live.compare import difference
from bntui.live.panels import PANELS
from bntui.live.snapshot import Snapshot
from bntui.screens.runs import RunsPage


class ComparePage(RunsPage):
    """The measure above, the differences to the reference below, aligned by step."""

    TAB, FOCUS = "compare", "#difference"

    def __init__(self, context: PageContext) -> None:
        super().__init__(context)
        self._measure = "loss"

    def body(self) -> Iterable[Widget]:
        yield Chart(id="measure")
        yield Chart(id="difference")

    def show_page(self, snapshot: Snapshot) -> None:
        runs = self.selection.shown(snapshot)
        reference = next((view for view in snapshot.runs if view.run.path == self.selection.reference), None)
        reference = reference or next(iter(snapshot.runs), None)
        if reference is None:
            return
        panel, state = PANELS[self._measure], replace(self.panel_state(), axis="step")
        self.query_one("#measure", Chart).show(panel.make(runs, state))
        minus = difference(panel, runs, reference, state)
        if not snapshot.complete and not minus.curves:
            minus = replace(minus, note="the runs are still being read")
        self.query_one("#difference", Chart).show(minus)

    def action_measure(self, by: int) -> None:
        keys = list(PANELS)
        self._measure = keys[(keys.index(self._measure) + by) % len(keys)]
        self.show_again()
