"""What every key does, from the table of actions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import BindingType
from textual.widget import Widget

from bntui.actions import HELP, SCREENS, Action, actions_of, bindings
from bntui.screens.dialog import Dialog
from bntui.widgets.formatting import MUTED, STRONG
from bntui.widgets.listing import Listing, ListRow

TITLES = {
    "everywhere": "Everywhere", "home": "List of all runs", "runs": "All pages about runs", "charts": "Charts",
    "curves": "Charts of curves", "lists": "Lists", "always": "Always, unless a line of text is edited",
    "windows": "Windows", "help": "This help", "picker": "Choosing charts", "layouts": "Saved layouts",
    "quit": "Quitting", "requests": "Composing a request", "filters": "Filters", "queries": "Filters of runs",
}  # fmt: skip


class Help(Dialog[None]):
    """Scrolls; any of the usual keys leaves it.

    Arguments:
        scopes: of the table of actions, those of the screen it was called from.
        actions: the table, with the keys that hold.
    """

    DEFAULT_CSS = """
    Help > .window { width: 92; height: 90%; }
    Help Listing { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings(HELP)
    TITLE = "Keys"
    SUB_TITLE = "↑↓ scroll   Esc back"

    def __init__(self, scopes: tuple[str, ...], actions: Sequence[Action]) -> None:
        super().__init__()
        self._rows = help_rows(scopes, actions)

    def body(self) -> Iterable[Widget]:
        yield Listing()

    def on_mount(self) -> None:
        self.query_one(Listing).show(self._rows)


def help_rows(scopes: tuple[str, ...], actions: Sequence[Action]) -> list[ListRow]:
    """A heading for each scope, and a row for what its keys do: these scopes, then what is on the same screen,
    then all others."""
    rows: list[ListRow] = []
    together = {scope for screen in SCREENS if {*scopes} <= screen for scope in screen}

    def distance(scope: str) -> int:
        return scopes.index(scope) if scope in scopes else len(scopes) + (scope not in together)

    for scope in sorted(dict.fromkeys(action.scope for action in actions), key=distance):
        keys: dict[str, list[str]] = {}
        for action in actions_of((scope,), actions):
            keys.setdefault(action.help, []).extend(action.all_keys)
        title = TITLES.get(scope, f"{scope.capitalize()} page")
        rows.append(ListRow(Text(title, STRONG)))
        for meaning, names in keys.items():
            if names:
                text = Text(f"  {' '.join(names):<14} ", "bold cyan").append(meaning)
                rows.append(ListRow(text, f"{title} {meaning}"))
        rows.append(ListRow(Text("", MUTED)))
    return rows
