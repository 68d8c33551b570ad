"""A line in which a person types what rows must contain to be shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input


class Filter(Input):
    """Shown while something is filtered; Enter goes back to the rows, Escape takes the filter away."""

    DEFAULT_CSS = """
    Filter, Filter:focus { dock: bottom; display: none; border: none; height: 1; padding: 0 1;
                           background: $boost; margin-bottom: 1; }
    Filter.open { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "clear", show=False),
        Binding("down,enter", "keep", show=False),
    ]

    @dataclass
    class Typed(Message):
        """What rows must contain has changed, or the person is done with it."""

        done: bool = False

    def __init__(self) -> None:
        super().__init__(placeholder="show rows that contain …   Enter keep   Esc clear")

    @property
    def words(self) -> tuple[str, ...]:
        """All of which a row must contain, in small letters."""
        return tuple(self.value.casefold().split())

    def passes(self, text: str) -> bool:
        """Whether a row with this text is shown."""
        folded = text.casefold()
        return all(word in folded for word in self.words)

    def open(self) -> None:
        """Let the person type."""
        self.add_class("open")
        self.focus()

    def action_clear(self) -> None:
        self.value = ""
        self.remove_class("open")
        self.post_message(self.Typed(done=True))

    def action_keep(self) -> None:
        self.set_class(bool(self.value), "open")
        self.post_message(self.Typed(done=True))

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Typed())
