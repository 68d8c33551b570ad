"""Every page about runs, by the name that the table of actions calls it."""

from __future__ import annotations

from bntui.screens.activations import ActivationsPage
from bntui.screens.compare import ComparePage
from bntui.screens.journal import JournalPage
from bntui.screens.layers import LayersPage
from bntui.screens.runs import RunsPage
from bntui.screens.spec import SpecPage
from bntui.screens.sweep import SweepPage
from bntui.screens.theory import TheoryPage

PAGES: dict[str, type[RunsPage]] = {
    page.TAB: page
    for page in (SweepPage, LayersPage, ActivationsPage, TheoryPage, ComparePage, JournalPage, SpecPage)
}
