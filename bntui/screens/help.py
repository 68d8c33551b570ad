"""What every key does, from the table of actions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from bntui.actions import actions_of
from bntui.screens.dialog import Dialog
from bntui.widgets.formatting import MUTED, STRONG
from bntui.widgets.listing import Listing, ListRow

TITLES = {"everywhere": "Everywhere", "home": "Runs and presets", "runs": "Runs"}
CHART_KEYS = (
    ("+ -", "Zoom in and out around the crosshair; the mouse wheel does the same"),
    ("← →", "When zoomed in: earlier and later steps"),
    ("0", "Everything again"),
    ("c", "Crosshair: read every curve at a step"),
    ("< >", "Move the crosshair"),
    ("s", "Smoothing: none, 0.6, 0.9, 0.97, 0.99; the raw curve stays, faintly"),
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
            window.border_subtitle = "Esc back"
            yield Listing(id="keys-help")

    def on_mount(self) -> None:
        listing = self.query_one(Listing)
        listing.show(help_rows(self._scopes))
        listing.focus()


def help_rows(scopes: tuple[str, ...]) -> list[ListRow]:
    """A heading for each scope and a row for each action that has a key."""
    rows: list[ListRow] = []
    for scope in scopes:
        rows += _section(
            TITLES.get(scope, scope.capitalize()), [(a.key, a.help) for a in actions_of((scope,)) if a.key]
        )
    return rows + (_section("Charts", CHART_KEYS) if "runs" in scopes else [])


def _section(title: str, keys: Iterable[tuple[str, str]]) -> list[ListRow]:
    rows = [ListRow(Text(title, STRONG))]
    for key, said in keys:
        rows.append(ListRow(Text(f"  {key:<8}", "bold cyan").append(said), f"{title} {key} {said}"))
    return [*rows, ListRow(Text("", MUTED))]
