"""Chooses by which setting runs are grouped, or charts are made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, TypeAlias

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import Input

from bncore.follow.groups import short_name
from bncore.follow.request_view import SPELLING
from bntui.actions import PICKER, bindings
from bntui.screens.dialog import Dialog
from bntui.widgets.formatting import MUTED
from bntui.widgets.listing import Listing, ListRow

By: TypeAlias = tuple[str, ...]
"""Dotted paths of settings; none: the variant."""


class PickSetting(Dialog[By]):
    """Answers one of the choices.

    Arguments:
        title: what is chosen.
        choices: the variant is shown first, then settings with a short name.
        now: the current one.
    """

    DEFAULT_CSS = """
    PickSetting Listing { max-height: 16; }
    PickSetting Input, PickSetting Input:focus { border: none; height: 1; padding: 0; background: $boost; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        one for one in bindings(PICKER) if getattr(one, "action", "").startswith("move")
    ]

    def __init__(self, title: str, choices: Iterable[By], now: By | None) -> None:
        super().__init__()
        self._title = title
        ordered = sorted(choices, key=lambda by: (bool(by), any(path not in SPELLING for path in by)))
        self._choices = {",".join(by) or "variant": by for by in ordered}
        self._now = now

    def compose(self) -> ComposeResult:
        with Vertical(classes="window") as window:
            window.border_title = self._title
            window.border_subtitle = "Enter choose   Esc cancel"
            yield Input(placeholder="type to find a setting")
            yield Listing(id="settings", focusable=False)

    def on_mount(self) -> None:
        self._find()
        listing = self.query_one(Listing)
        listing.key = next((key for key, by in self._choices.items() if by == self._now), listing.key)
        self.query_one(Input).focus()

    def action_move(self, by: int) -> None:
        self.query_one(Listing).action_move(by)

    def action_move_page(self, by: int) -> None:
        self.query_one(Listing).action_move_page(by)

    @on(Input.Changed)
    def _find(self) -> None:
        typed = self.query_one(Input).value.casefold().strip()
        rows = [ListRow(self._row(by), key) for key, by in self._choices.items()]
        rows = [row for row in rows if typed in row.text.plain.casefold()]
        listing = self.query_one(Listing)
        listing.show(rows or [ListRow(Text("no setting matches", MUTED))])
        if typed and rows:
            listing.key = rows[0].key

    @on(Input.Submitted)
    @on(Listing.Chosen)
    def _done(self) -> None:
        key = self.query_one(Listing).key
        if key:
            self.dismiss(self._choices[key])

    def _row(self, by: By) -> Text:
        text = Text("■ " if by == self._now else "  ").append(setting_name(by))
        return text.append(f"  {', '.join(by)}", MUTED)


def setting_name(by: By) -> str:
    """How a person says what runs are told apart by."""
    return ", ".join(map(short_name, by)) or "variant"
