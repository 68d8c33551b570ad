"""Chooses by which setting runs are grouped, or charts are made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from rich.text import Text
from textual import on
from textual.widgets import Input

from bncore.follow.groups import short_name
from bncore.follow.request_view import SPELLING
from bntui.screens.dialog import Finder
from bntui.widgets.formatting import MUTED
from bntui.widgets.listing import ListRow

By: TypeAlias = tuple[str, ...]
"""Dotted paths of settings; none: the variant."""


class PickSetting(Finder[By]):
    """Answers one of the choices.

    Arguments:
        title: what is chosen.
        choices: the variant is shown first, then settings with a short name.
        now: the current one.
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
    """How a person says what runs are told apart by."""
    return ", ".join(map(short_name, by)) or "variant"
