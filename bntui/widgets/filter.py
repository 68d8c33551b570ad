"""Input lines that filter rows by text, or runs by a query."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual import on
from textual.binding import BindingType
from textual.message import Message
from textual.widgets import Input, Static

from bncore.config.errors import escape_control
from bncore.follow.query import Query, QueryError, common_beginning, complete, no_such_value, parse
from bncore.follow.run_view import RunView
from bntui.actions import ALWAYS, FILTERS, QUERIES, bindings


class Filter(Input):
    """Visible while a filter is active; Enter returns to the rows, Escape clears the filter."""

    DEFAULT_CSS = """
    Filter, Filter:focus { dock: bottom; display: none; border: none; height: 1; padding: 0 1;
                           background: $boost; margin-bottom: 1; }
    Filter.open { display: block; }
    Filter.open:blur { background: $background; text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings(FILTERS)
    SCOPES: ClassVar[tuple[str, ...]] = (FILTERS, ALWAYS)
    """Scopes in the table of actions of the keys that work while it is edited."""

    @dataclass
    class Typed(Message):
        """The filter has changed, or the user has finished editing it."""

        done: bool = False

    PLACEHOLDER: ClassVar[str] = "show rows that contain …   Enter keep   Esc clear"

    def __init__(self) -> None:
        super().__init__(placeholder=self.PLACEHOLDER)

    @property
    def words(self) -> tuple[str, ...]:
        """Words that a row must contain, all of them, case-folded."""
        return tuple(self.value.casefold().split())

    def passes(self, text: str) -> bool:
        """Whether a row with this text is shown."""
        folded = text.casefold()
        return all(word in folded for word in self.words)

    def open(self) -> None:
        """Show the filter and focus it."""
        self.add_class("open")
        self.focus()

    def restore(self, value: str) -> None:
        """Restore a filter typed earlier."""
        self.value = value
        self.set_class(bool(value), "open")

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


class QueryFilter(Filter):
    """A filter of runs by a query (`bncore.follow.query`). While the text is invalid, the last valid query or
    the valid part before the error applies. Tab completes."""

    DEFAULT_CSS = """
    QueryFilter.hinted, QueryFilter.hinted:focus { margin-bottom: 2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings(QUERIES)
    SCOPES = (QUERIES, *Filter.SCOPES)
    PLACEHOLDER: ClassVar[str] = (
        "words, or norm=batch lr>0.05 state:running …   Tab complete   Enter keep   Esc clear"
    )

    def __init__(self) -> None:
        super().__init__()
        self.valid = Query()
        """The query in effect."""
        self.views: Sequence[RunView] = ()
        """Runs whose values are offered as completions."""
        self._error: QueryError | None = None
        self._offered: list[str] = []

    def action_complete(self) -> None:
        """Complete the last word as far as it is unambiguous; if nothing fits, apply the suggested correction."""
        matches = complete(self.value, self.views)
        correction = self._error.corrected if self._error is not None and not matches else ""
        common = correction or common_beginning(matches)
        self._offered = matches if len(matches) > 1 else []
        if correction or len(common) > len(self.value):
            self.value = common
        self.cursor_position = len(self.value)
        self.post_message(self.Typed())

    @on(Input.Changed)
    def _parse(self) -> None:
        try:
            self.valid = parse(self.value)
            self._error = no_such_value(self.valid, self.views)
        except QueryError as error:
            self._error = error
            with suppress(QueryError):  # a half-typed field name was accepted as a word
                self.valid = parse(self.value[: self.value.rfind(" ", 0, error.start) + 1])
        self._offered = [one for one in self._offered if one.startswith(self.value) and one != self.value]

    def hint(self, width: int) -> Text:
        """Possible completions, else the error with a marker under the word, else nothing."""
        if self._offered:
            start = max(map(self.value.rfind, " (")) + 1
            return Text(escape_control("  ".join(one[start:] for one in self._offered)), "dim")
        if self._error is None or not self.has_focus:
            return Text()
        shown = self.value[: self._error.start]
        before = max(0, 1 + cell_len(shown) - int(self.scroll_offset.x))
        marks, why = "^" * (self._error.end - self._error.start), f" {escape_control(str(self._error))}"
        if before + len(marks) + cell_len(why) <= width:
            return Text(" " * before + marks + why, "red")
        return Text(f"{why.strip()} ".rjust(before) + marks, "red")


class FilterHint(Static):
    """The line under a filter with its completions or its error; hidden if there are none."""

    DEFAULT_CSS = """
    FilterHint { dock: bottom; display: none; height: 1; margin-bottom: 1; background: $boost; }
    FilterHint.open { display: block; }
    """

    def show(self, filtered: QueryFilter, width: int) -> None:
        """Show the filter's hint, if any."""
        text = filtered.hint(width)
        self.set_class(bool(text), "open")
        filtered.set_class(bool(text), "hinted")
        text.truncate(width, overflow="ellipsis")
        self.update(text)
