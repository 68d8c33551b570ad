"""What all screens share: a heading, the line of keys, and the snapshot they show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.screen import Screen
from textual.widget import Widget

from bntui.actions import EVERYWHERE, Action, actions_of
from bntui.context import PageContext
from bntui.live.snapshot import Snapshot
from bntui.selection import Selection
from bntui.widgets.filter import Filter
from bntui.widgets.keys import KeyLine
from bntui.widgets.line import Line, Segment

TINY_WIDTH, TINY_HEIGHT = 40, 10
"""Below this one line says so, and only leaving works."""
LEAVING = ("leave", "quit")


class Page(Screen[None]):
    """One screen of the explorer."""

    DEFAULT_CSS = """
    Page { layout: vertical; background: $background; }
    Page #heading { background: $panel; }
    Page .titled { border: round $foreground 25%; border-title-color: $foreground; border-title-style: bold;
                   padding: 0 1; }
    Page.tiny > * { display: none !important; }
    Page.tiny > #heading { display: block !important; }
    """
    AUTO_FOCUS = ""
    SCOPES: ClassVar[tuple[str, ...]] = (EVERYWHERE,)
    """Of the table of actions, the nearest first."""

    def __init__(self, context: PageContext) -> None:
        super().__init__()
        self.context = context

    def compose(self) -> ComposeResult:
        yield Line(id="heading")
        yield from self.body()
        yield KeyLine()

    def body(self) -> Iterable[Widget]:
        """What stands between the heading and the line of keys."""
        return ()

    @property
    def snapshot(self) -> Snapshot | None:
        return self.context.feed.snapshot

    @property
    def selection(self) -> Selection:
        """What is selected on the pages about runs."""
        return self.context.selection

    def on_screen_resume(self) -> None:
        self.show_again()
        if self.focused is None:
            self.call_after_refresh(self.focus_page)

    def go_back(self) -> None:
        """Go to what lies before this page, where anything does."""

    def focus_page(self) -> None:
        """Give the focus to what is shown."""

    @on(events.Resize)
    def _resized(self, event: events.Resize) -> None:
        self.set_class(event.size.width < TINY_WIDTH or event.size.height < TINY_HEIGHT, "tiny")
        self.call_after_refresh(self._show_at_size)

    def _show_at_size(self) -> None:
        self.show_again()
        if self.focused is None and not self.is_tiny:  # what is hidden loses the focus
            self.focus_page()

    @property
    def is_tiny(self) -> bool:
        """Whether there is no room for anything but the heading."""
        return self.has_class("tiny")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action in LEAVING if self.is_tiny else True

    def show_again(self) -> None:
        if not self.is_mounted:
            return
        snapshot = self.snapshot
        if not self.is_tiny:
            self.query_one(KeyLine).offer(actions_of(self.SCOPES, self.offered()), self.labels())
            if snapshot is not None:
                self.show(snapshot)
        self.query_one("#heading", Line).say(*(self._too_small() if self.is_tiny else self.heading()))

    def offered(self) -> list[Action]:
        """The table of actions without what would be refused, or do nothing, here."""
        return [one for one in self.context.offered() if one.name != "go_back" or self.has_before]

    @property
    def has_before(self) -> bool:
        """Whether anything lies before this page."""
        return False

    def _too_small(self) -> tuple[list[Segment], list[Segment]]:
        text = Text(f"too small, min {TINY_WIDTH}×{TINY_HEIGHT}", "yellow")
        return [Segment(text, 1)], [Segment(Text(f"{self.context.key('everywhere.leave')} quit", "bold"))]

    def heading(self) -> tuple[list[Segment], list[Segment]]:
        """Left and right parts of the first line."""
        return [Segment(Text("bntui", "bold"))], []

    def labels(self) -> dict[str, str]:
        """Labels in the line of keys that depend on what holds now."""
        return {}

    def show(self, snapshot: Snapshot) -> None:
        """Show a snapshot."""

    def action_filter(self) -> None:
        self.query_one(Filter).open()

    @on(Filter.Typed)
    def _filtered(self, event: Filter.Typed) -> None:
        self.show_again()
        if event.done:
            self.focus_page()

    def notice(self, text: str, style: str = "") -> None:
        """Say what happened, in the line of keys."""
        self.query_one(KeyLine).notice(text, style)
