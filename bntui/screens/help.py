"""What every key does, from the table of actions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from bntui.actions import ACTIONS, actions_of
from bntui.screens.dialog import Dialog
from bntui.widgets.formatting import MUTED, STRONG
from bntui.widgets.listing import Listing, ListRow

TITLES = {"everywhere": "Everywhere", "home": "List of all runs", "runs": "All pages about runs"}
CHART_KEYS = (
    ("+ -", "Zoom in and out around the crosshair, as the mouse wheel does"),
    ("← → ↑ ↓", "When zoomed in: pan"),
    ("0", "Reset zoom"),
    ("c", "Crosshair: read every curve at one step"),
    ("< >", "Move the crosshair"),
    ("s", "Smoothing: none, 0.6, 0.9, 0.97, 0.99; the raw curve stays, faint"),
    ("y", "Logarithmic or linear axis"),
    ("Tab", "The next chart"),
)
"""Bound by the charts themselves."""


class Help(Dialog[None]):
    """Scrolls; any of the usual keys leaves it.

    Arguments:
        scopes: of the table of actions, those of the screen it was called from.
    """

    DEFAULT_CSS = """
    Help > .window { width: 84; height: 90%; }
    Help Listing { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("q,question_mark,f1,enter", "leave", show=False)]

    def __init__(self, scopes: tuple[str, ...]) -> None:
        super().__init__()
        self._scopes = scopes

    def compose(self) -> ComposeResult:
        with Vertical(classes="window") as window:
            window.border_title = "Keys"
            window.border_subtitle = "↑↓ scroll   Esc back"
            yield Listing(id="keys-help")

    def on_mount(self) -> None:
        listing = self.query_one(Listing)
        listing.show(help_rows(self._scopes))
        listing.focus()


def help_rows(scopes: tuple[str, ...]) -> list[ListRow]:
    """A heading for each scope and a row for each action that has a key: these scopes, then all others."""
    rows: list[ListRow] = []
    for scope in dict.fromkeys((*scopes, *(action.scope for action in ACTIONS))):
        keys = [(" ".join(a.all_keys), a.help) for a in actions_of((scope,)) if a.keys]
        rows += _section(TITLES.get(scope, f"{scope.capitalize()} page"), keys)
        rows += _section("Charts", CHART_KEYS) if scope == "runs" else []
    return rows


def _section(title: str, keys: Iterable[tuple[str, str]]) -> list[ListRow]:
    rows = [ListRow(Text(title, STRONG))]
    for key, meaning in keys:
        rows.append(ListRow(Text(f"  {key:<14}", "bold cyan").append(meaning), f"{title} {key} {meaning}"))
    return [*rows, ListRow(Text("", MUTED))]
