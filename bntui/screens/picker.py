"""Chooses which charts are shown, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.binding import BindingType
from textual.widgets import Input

from bntui.actions import PICKER, bindings
from bntui.live.panels import PANELS
from bntui.screens.dialog import Finder
from bntui.widgets.listing import ListRow


class Picker(Finder[tuple[str, ...]]):
    """Answers the keys of the panels to show; never none of them.

    Arguments:
        keys: those shown now, in their order.
        logged: those of what the runs log.
    """

    DEFAULT_CSS = """
    Picker > .window { height: 90%; }
    Picker Listing { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings(PICKER)
    TITLE = "Charts"
    SUB_TITLE = "Tab show/hide   Shift+↑↓ reorder   Enter apply   Esc cancel"
    PLACEHOLDER = "type to find: title, key or symbol"
    NOTHING = "no chart matches"

    def __init__(self, keys: tuple[str, ...], logged: Sequence[str] = ()) -> None:
        super().__init__()
        self._keys = list(keys)
        self.found = ""
        """The key of the chart that letters found; empty where none were typed."""
        self._known = [*PANELS, *logged]

    def rows(self) -> list[ListRow]:
        found = find(self.typed, self._known)
        shown = {key: number for number, key in enumerate(self._keys, 1) if key in found}
        rows = [ListRow(Text(f"{n:>2} ■ {PANELS[key].title}"), key) for key, n in shown.items()]
        rows += [ListRow(Text(f"   □ {PANELS[key].title}"), key) for key in found if key not in shown]
        return sorted(rows, key=lambda row: found.index(row.key)) if self.typed else rows

    def action_choose(self) -> None:
        key = self.listing.key
        if key and key not in self._keys:
            self._keys.append(key)
        elif key and len(self._keys) > 1:
            self._keys.remove(key)
        self.show()

    def action_shift(self, by: int) -> None:
        """Move a chart that is shown up or down among them."""
        key = self.listing.key
        if key in self._keys:
            index = self._keys.index(key)
            self._keys.insert(min(len(self._keys) - 1, max(0, index + by)), self._keys.pop(index))
            self.show()

    def action_leave(self) -> None:
        """Take away what was typed, else close the window."""
        if self.typed:
            self.query_one(Input).value = ""
        else:
            super().action_leave()

    @on(Input.Submitted)
    def _done(self) -> None:
        """Show the chosen charts, and the one that was found."""
        found = self.listing.key
        if self.typed and found:
            self.found = found
            self._keys += [] if found in self._keys else [found]
        self.dismiss(tuple(self._keys))


def find(typed: str, keys: Iterable[str] = PANELS) -> list[str]:
    """Those keys of panels whose title, key or symbol contain what was typed, then of those with its letters
    in that order."""
    wanted = typed.casefold().strip()
    ranks = {}
    for key in keys:
        panel = PANELS[key]
        texts = [text.casefold() for text in (panel.title, key, panel.measure.symbol)]
        if any(wanted in text for text in texts):
            ranks[key] = 0
        elif any(_in_order(wanted.replace(" ", ""), text) for text in texts):
            ranks[key] = 1
    return sorted(ranks, key=lambda key: ranks[key])


def _in_order(letters: str, text: str) -> bool:
    rest = iter(text)
    return all(letter in rest for letter in letters)
