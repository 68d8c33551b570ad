"""Chooses which charts are shown, and in which order."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical

from bntui.actions import PICKER, bindings
from bntui.live.panels import PANELS
from bntui.screens.dialog import Dialog
from bntui.widgets.listing import Listing, ListRow


class Picker(Dialog[tuple[str, ...]]):
    """Answers the keys of the panels to show; never none of them.

    Arguments:
        keys: those shown now, in their order.
    """

    DEFAULT_CSS = """
    Picker > .window { height: 90%; }
    Picker Listing { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings(PICKER)

    def __init__(self, keys: tuple[str, ...]) -> None:
        super().__init__()
        self._keys = list(keys)

    def compose(self) -> ComposeResult:
        with Vertical(classes="window") as window:
            window.border_title = "Charts"
            window.border_subtitle = "Space show/hide   Shift+↑↓ reorder   Enter apply   Esc cancel"
            yield Listing(id="charts")

    def on_mount(self) -> None:
        self._show()
        self.query_one(Listing).focus()

    def action_choose(self) -> None:
        key = self.query_one(Listing).key
        if key not in self._keys:
            self._keys.append(key)
        elif len(self._keys) > 1:
            self._keys.remove(key)
        self._show()

    def action_shift(self, by: int) -> None:
        """Move a chart that is shown up or down among them."""
        key = self.query_one(Listing).key
        if key in self._keys:
            index = self._keys.index(key)
            self._keys.insert(min(len(self._keys) - 1, max(0, index + by)), self._keys.pop(index))
            self._show()

    @on(Listing.Chosen)
    def _done(self) -> None:
        self.dismiss(tuple(self._keys))

    def _show(self) -> None:
        shown = [key for key in self._keys if key in PANELS]
        rest = [key for key in PANELS if key not in shown]
        rows = [ListRow(Text(f"{n:>2} ■ {PANELS[key].title}"), key) for n, key in enumerate(shown, 1)]
        rows += [ListRow(Text(f"   □ {PANELS[key].title}"), key) for key in rest]
        self.query_one(Listing).show(rows)
