"""A list of selectable rows of any length; draws only the visible ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from rich.console import Console
from rich.text import Text
from textual import events
from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from bntui.actions import LISTS, bindings


@dataclass(frozen=True, slots=True)
class ListRow:
    """One row."""

    text: Text
    key: str = ""
    """Identifies what the row stands for; a row without a key is a heading, which the cursor skips."""


def wrapped(row: ListRow, width: int, console: Console, indent: int = 0) -> list[ListRow]:
    """Wrap a row over as many rows as needed; the first keeps the key, the others are indented."""
    width = max(20, width)  # the width is unknown before the first layout
    if row.text.cell_len <= width:
        return [row]
    first = row.text.wrap(console, width)[0]
    rest = row.text[len(first) :]
    rest = rest[len(rest) - len(rest.plain.lstrip()) :]
    more = rest.wrap(console, max(20, width - indent))
    return [replace(row, text=first), *(ListRow(Text(" " * indent).append_text(line)) for line in more)]


class Listing(ScrollView, can_focus=True):
    """Rows with a cursor that stays on its row when others are added or removed.

    Arguments:
        follows: whether the cursor follows newly added rows while it is on the last row.
    """

    DEFAULT_CSS = """
    Listing { height: 1fr; scrollbar-size-vertical: 1; overflow-x: hidden; }
    Listing > .listing--cursor { background: $primary 30%; text-style: bold; }
    Listing:light > .listing--cursor { background: $primary 20%; }
    Listing:ansi > .listing--cursor { background: ansi_default; text-style: reverse; }
    Listing:nocolor > .listing--cursor { text-style: reverse; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"listing--cursor"}
    BINDINGS: ClassVar[list[BindingType]] = bindings(LISTS)

    @dataclass
    class RowMessage(Message):
        """Base class of the messages about a row."""

        listing: Listing
        key: str

        @property
        def control(self) -> Listing:
            return self.listing

    class Moved(RowMessage):
        """The cursor moved to another row."""

    class Chosen(RowMessage):
        """A row was chosen, with Enter or the mouse."""

    def __init__(
        self,
        *,
        id: str | None = None,
        classes: str | None = None,
        follows: bool = False,
        focusable: bool = True,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.can_focus = focusable
        self.rows: tuple[ListRow, ...] = ()
        self._key = ""
        self._follows = follows

    @property
    def text_width(self) -> int:
        """Width available to a row's text, in cells, without the scrollbar."""
        return self.scrollable_content_region.width

    @property
    def key(self) -> str:
        """Key of the row under the cursor; empty if there is none."""
        return self._key

    @key.setter
    def key(self, key: str) -> None:
        if key != self._key:
            self._key = key
            self.refresh()
            self._reveal()

    def show(self, rows: Sequence[ListRow]) -> None:
        """Show these rows; the cursor stays on its row, or moves to the nearest remaining one."""
        before, index = self.rows, self._index()
        at_end = self._follows and self._key == next((row.key for row in reversed(before) if row.key), "")
        if tuple(rows) == before:
            return
        self.rows = tuple(rows)
        self.virtual_size = Size(self.size.width, len(rows))
        keys = [row.key for row in rows if row.key]
        if at_end:
            self._key = keys[-1] if keys else ""
        elif self._key not in keys:
            later = [row.key for row in rows[index:] if row.key] if index is not None else []
            self._key = (later or keys[-1:] if index is not None else keys[:1] or [""])[0] if keys else ""
        if at_end and len(rows) != len(before):
            self.scroll_end(animate=False)
        elif len(rows) != len(before):
            self._reveal()
        self.refresh()

    def action_move(self, by: int) -> None:
        """Move the cursor by `by` rows, counting only those with a key."""
        keys = [row.key for row in self.rows if row.key]
        if not keys:
            return
        index = keys.index(self._key) if self._key in keys else 0
        self.key = keys[min(len(keys) - 1, max(0, index + by))]
        if self._follows and self.key == keys[-1]:
            self.scroll_end(animate=False)
        self.post_message(self.Moved(self, self.key))

    def action_move_page(self, by: int) -> None:
        self.action_move(by * max(1, self.size.height - 1))

    def action_choose(self) -> None:
        if self._key:
            self.post_message(self.Chosen(self, self._key))

    def on_click(self, event: events.Click) -> None:
        row = int(event.y + self.scroll_offset.y - self.gutter.top)
        if not 0 <= row < len(self.rows) or not self.rows[row].key:
            return
        again = self.rows[row].key == self._key
        self.key = self.rows[row].key
        self.post_message(self.Moved(self, self.key))
        if again and self.can_focus:
            self.post_message(self.Chosen(self, self.key))

    def on_resize(self) -> None:
        self.virtual_size = Size(self.size.width, len(self.rows))
        self._reveal()

    def render_line(self, y: int) -> Strip:
        width, index = self.text_width, y + int(self.scroll_offset.y)
        base = self.rich_style
        if index >= len(self.rows):
            return Strip.blank(width, base)
        row = self.rows[index]
        text = row.text.copy()
        text.truncate(width, overflow="ellipsis", pad=True)
        strip = Strip(text.render(self.app.console, end="")).crop_extend(0, width, None)
        if row.key and row.key == self._key:
            return strip.apply_style(base + self.get_component_rich_style("listing--cursor"))
        return strip.apply_style(base)

    def _index(self) -> int | None:
        return next((i for i, row in enumerate(self.rows) if row.key and row.key == self._key), None)

    def _reveal(self) -> None:
        index = self._index()
        if index is not None and self.size.height:
            top = 0 if index <= 1 else index  # a heading above the first row is shown with it
            height = index - top + sum(row.key == self._key for row in self.rows)
            self.scroll_to_region(Region(0, top, 1, height), animate=False, force=True)
