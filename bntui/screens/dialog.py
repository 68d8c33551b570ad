"""What all small windows over a screen share."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from textual.binding import BindingType
from textual.screen import ModalScreen

from bntui.actions import WINDOWS, bindings

Answer = TypeVar("Answer")


class Dialog(ModalScreen[Answer | None], Generic[Answer]):
    """A window in the middle of the screen; Escape leaves it with None."""

    DEFAULT_CSS = """
    Dialog { align: center middle; background: $background 60%; }
    Dialog > .window { width: 72; max-width: 100%; height: auto; max-height: 100%; border: round $primary;
                       border-title-style: bold; background: $surface; padding: 0 1; }
    Dialog Static { width: 100%; height: auto; }
    Dialog Listing { height: auto; max-height: 100%; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings(WINDOWS)

    def action_leave(self) -> None:
        self.dismiss(None)
