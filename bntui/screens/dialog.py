"""What all small windows over a screen share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Generic, TypeVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Input

from bntui.actions import PICKER, WINDOWS, bindings
from bntui.widgets.formatting import MUTED
from bntui.widgets.listing import Listing, ListRow

Answer = TypeVar("Answer")


class Dialog(ModalScreen[Answer | None], Generic[Answer]):
    """A window in the middle of the screen, with the focus on the first that can have it; Escape leaves it with
    None. Its title and, beneath, its keys are those of the screen: `TITLE` and `SUB_TITLE`."""

    DEFAULT_CSS = """
    Dialog { align: center middle; background: $background 60%; }
    Dialog > .window { width: 72; max-width: 100%; height: auto; max-height: 100%; border: round $primary;
                       border-title-style: bold; background: $surface; padding: 0 1; }
    Dialog Static { width: 100%; height: auto; }
    Dialog Listing { height: auto; max-height: 100%; background: $surface; }
    Dialog Input, Dialog Input:focus { border: none; height: 1; padding: 0 1; background: $boost; }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings(WINDOWS)

    def compose(self) -> ComposeResult:
        with Vertical(classes="window") as window:
            window.border_title, window.border_subtitle = Text(self.title or ""), self.sub_title
            yield from self.body()

    @abstractmethod
    def body(self) -> Iterable[Widget]:
        """What stands in the window."""

    def action_leave(self) -> None:
        self.dismiss(None)


class Finder(Dialog[Answer]):
    """A list in which letters find; they go to a line of text, which keeps the focus."""

    BINDINGS: ClassVar[list[BindingType]] = [
        one for one in bindings(PICKER) if getattr(one, "action", "").startswith("move")
    ]
    PLACEHOLDER: ClassVar[str]
    NOTHING: ClassVar[str]
    """What is said where nothing was found."""

    def body(self) -> Iterable[Widget]:
        yield Input(placeholder=self.PLACEHOLDER)
        yield Listing(focusable=False)

    def on_mount(self) -> None:
        self.show()

    @property
    def typed(self) -> str:
        return self.query_one(Input).value.casefold().strip()

    @property
    def listing(self) -> Listing:
        return self.query_one(Listing)

    @abstractmethod
    def rows(self) -> list[ListRow]:
        """What goes with what was typed."""

    def show(self) -> None:
        """Show the rows as they are now."""
        self.listing.show(self.rows() or [ListRow(Text(self.NOTHING, MUTED))])

    @on(Input.Changed)
    def _find(self) -> None:
        self.show()
        if self.typed:
            self.listing.key = next((row.key for row in self.listing.rows), "")

    def action_move(self, by: int) -> None:
        self.listing.action_move(by)

    def action_move_page(self, by: int) -> None:
        self.listing.action_move_page(by)
