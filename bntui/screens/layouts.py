"""Layouts that have names: saving what is shown, showing or deleting one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widget import Widget
from textual.widgets import Input, Static

from bncore.config.errors import escape_control
from bntui.actions import LAYOUTS, bindings
from bntui.layouts import Layout, named_layouts, save_layout
from bntui.live.axes import AXES
from bntui.live.panels import PANELS
from bntui.screens.dialog import Dialog
from bntui.widgets.formatting import MUTED
from bntui.widgets.listing import Listing, ListRow


class SaveLayout(Dialog[str]):
    """Answers the name to save what is shown under."""

    TITLE = "Save layout"
    SUB_TITLE = "Enter save   Esc cancel"

    def body(self) -> Iterable[Widget]:
        yield Input(placeholder="name")
        yield Static(markup=False)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        there = event.value.strip() in named_layouts()
        self.query_one(Static).update(Text("replaces the one of that name" if there else "", "yellow"))

    @on(Input.Submitted)
    def _named(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.dismiss(event.value.strip())


class PickLayout(Dialog[str]):
    """Answers the name of the layout to show.

    Arguments:
        key: what a person presses to save one.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings(LAYOUTS)
    TITLE = "Layouts"
    SUB_TITLE = "Enter show   Del delete   Esc cancel"

    def body(self) -> Iterable[Widget]:
        yield Listing()

    def __init__(self, key: str) -> None:
        super().__init__()
        self._key = key

    def on_mount(self) -> None:
        self._show()

    def action_delete(self) -> None:
        name = self.query_one(Listing).key
        if name:
            try:
                save_layout(name, None)
            except OSError as error:
                self.query_one(Vertical).border_subtitle = f"not deleted: {error.strerror or error}"
            self._show()

    @on(Listing.Chosen)
    def _chosen(self, event: Listing.Chosen) -> None:
        self.dismiss(event.key)

    def _show(self) -> None:
        rows = [ListRow(row_of(name, layout), name) for name, layout in named_layouts().items()]
        nothing = f"no layouts yet: {self._key} saves what is shown under a name"
        self.query_one(Listing).show(rows or [ListRow(Text(nothing, MUTED))])


def row_of(name: str, layout: Layout) -> Text:
    """A layout in a line: its name, and what it shows."""
    titles = ", ".join(PANELS[key].title if key in PANELS else key for key in layout.panels)
    over = f" over {AXES[layout.axis]}" if layout.axis != "step" else ""
    return Text(f"{escape_control(name)}  ").append(escape_control(f"{titles}{over}"), MUTED)
