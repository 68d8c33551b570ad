"""Dialogs that choose the charts and their order, a setting to group by, or a named layout."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, TypeAlias

from rich.text import Text
from textual import on
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widget import Widget
from textual.widgets import Input, Static

from bncore.config.errors import escape_control
from bncore.follow.groups import short_name
from bncore.follow.request_view import SPELLING
from bntui.actions import LAYOUTS, PICKER, bindings
from bntui.layouts import Layout, named_layouts, save_layout
from bntui.live.axes import AXES
from bntui.live.panels import PANELS
from bntui.screens.dialog import Dialog, Finder
from bntui.widgets.formatting import MUTED
from bntui.widgets.listing import Listing, ListRow


class Picker(Finder[tuple[str, ...]]):
    """Return the keys of the panels to show; never an empty tuple.

    Arguments:
        keys: panels shown now, in order.
        logged: panels of the metrics that the runs log.
    """

    DEFAULT_CSS = """
    Picker > .window { height: 90%; }
    Picker Listing { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings(PICKER)
    TITLE = "Charts"
    SUB_TITLE = "Tab show/hide   Shift+↑↓ move   Enter ok   Esc cancel"
    PLACEHOLDER = "type to find: title, key or symbol"
    NOTHING = "no chart matches"

    def __init__(self, keys: tuple[str, ...], logged: Sequence[str] = ()) -> None:
        super().__init__()
        self._keys = list(keys)
        self.matched_key = ""
        """Key of the chart matched by the typed text; empty if nothing was typed."""
        self._available = [*PANELS, *logged]

    def rows(self) -> list[ListRow]:
        matches = find(self.typed, self._available)
        shown = {key: number for number, key in enumerate(self._keys, 1) if key in matches}
        rows = [ListRow(Text(f"{n:>2} ■ {PANELS[key].title}"), key) for key, n in shown.items()]
        rows += [ListRow(Text(f"   □ {PANELS[key].title}"), key) for key in matches if key not in shown]
        return sorted(rows, key=lambda row: matches.index(row.key)) if self.typed else rows

    def action_choose(self) -> None:
        key = self.listing.key
        if key and key not in self._keys:
            self._keys.append(key)
        elif key and len(self._keys) > 1:
            self._keys.remove(key)
        self.show()

    def action_shift(self, by: int) -> None:
        """Move a shown chart up or down in the order."""
        key = self.listing.key
        if key in self._keys:
            index = self._keys.index(key)
            self._keys.insert(min(len(self._keys) - 1, max(0, index + by)), self._keys.pop(index))
            self.show()

    def action_leave(self) -> None:
        """Clear the typed text; if there is none, close the dialog."""
        if self.typed:
            self.query_one(Input).value = ""
        else:
            super().action_leave()

    @on(Input.Submitted)
    def _done(self) -> None:
        """Close with the chosen charts and the one matched by the typed text."""
        key = self.listing.key
        if self.typed and key:
            self.matched_key = key
            self._keys += [] if key in self._keys else [key]
        self.dismiss(tuple(self._keys))


def find(typed: str, keys: Iterable[str] = PANELS) -> list[str]:
    """Keys of the panels whose title, key or symbol contains the typed text, followed by those that contain its
    letters in that order."""
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


By: TypeAlias = tuple[str, ...]
"""Dotted paths of settings; the empty tuple means the variant."""


class PickSetting(Finder[By]):
    """Return one of the choices.

    Arguments:
        title: title of the dialog.
        choices: the variant is listed first, then settings with a short name, then the others.
        now: the current choice.
    """

    DEFAULT_CSS = """
    PickSetting Listing { max-height: 16; }
    """
    SUB_TITLE = "Enter choose   Esc cancel"
    PLACEHOLDER = "type to find a setting"
    NOTHING = "no setting matches"

    def __init__(self, title: str, choices: Iterable[By], now: By | None) -> None:
        super().__init__()
        self.title = title
        ordered = sorted(choices, key=lambda by: (bool(by), any(path not in SPELLING for path in by)))
        self._choices = {",".join(by) or "variant": by for by in ordered}
        self._now = now

    def on_mount(self) -> None:
        super().on_mount()
        now = (key for key, by in self._choices.items() if by == self._now)
        self.listing.key = next(now, self.listing.key)

    def rows(self) -> list[ListRow]:
        rows = [ListRow(self._row(by), key) for key, by in self._choices.items()]
        return [row for row in rows if self.typed in row.text.plain.casefold()]

    @on(Input.Submitted)
    def _done(self) -> None:
        if self.listing.key:
            self.dismiss(self._choices[self.listing.key])

    def _row(self, by: By) -> Text:
        text = Text("■ " if by == self._now else "  ").append(setting_name(by))
        return text.append(f"  {', '.join(by)}", MUTED)


def setting_name(by: By) -> str:
    """Display name of the settings that runs are grouped by."""
    return ", ".join(map(short_name, by)) or "variant"


class SaveLayout(Dialog[str]):
    """Return the name under which to save the current layout."""

    TITLE = "Save layout"
    SUB_TITLE = "Enter save   Esc cancel"

    def body(self) -> Iterable[Widget]:
        yield Input(placeholder="name")
        yield Static(markup=False)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        exists = event.value.strip() in named_layouts()
        self.query_one(Static).update(Text("replaces the one of that name" if exists else "", "yellow"))

    @on(Input.Submitted)
    def _named(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.dismiss(event.value.strip())


class PickLayout(Dialog[str]):
    """Return the name of the layout to show.

    Arguments:
        key: key that saves a layout.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings(LAYOUTS)
    TITLE = "Layouts"
    SUB_TITLE = "Enter show   Del delete   Esc cancel"

    def __init__(self, key: str) -> None:
        super().__init__()
        self._key = key

    def body(self) -> Iterable[Widget]:
        yield Listing()

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
        nothing = f"no layouts yet: {self._key} saves the current layout under a name"
        self.query_one(Listing).show(rows or [ListRow(Text(nothing, MUTED))])


def row_of(name: str, layout: Layout) -> Text:
    """A layout in one line: its name, its charts, and the x axis unless that is the step."""
    titles = ", ".join(PANELS[key].title if key in PANELS else key for key in layout.panels)
    over = f" over {AXES[layout.axis]}" if layout.axis != "step" else ""
    return Text(f"{escape_control(name)}  ").append(escape_control(f"{titles}{over}"), MUTED)
