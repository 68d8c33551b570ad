"""Modal dialogs: their base classes, and those that ask a single question."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, Generic, TypeVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Input, Static

from bncore.figure import Span
from bncore.follow.run_view import RunView
from bntui.actions import HELP, PICKER, QUIT, SCREENS, WINDOWS, Action, actions_of, bindings
from bntui.chart.view import span_of
from bntui.widgets.formatting import MUTED, STRONG
from bntui.widgets.listing import Listing, ListRow, wrapped

Answer = TypeVar("Answer")
Asked = TypeVar("Asked")


class Dialog(ModalScreen[Answer | None], Generic[Answer]):
    """A centered window that focuses its first focusable widget; Escape dismisses it with None. `TITLE` and
    `SUB_TITLE` become its border title and, below, its key hints."""

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
        """Widgets of the window."""

    def action_leave(self) -> None:
        self.dismiss(None)


class Finder(Dialog[Answer]):
    """A list filtered by typing into an input, which keeps the focus."""

    BINDINGS: ClassVar[list[BindingType]] = [
        one for one in bindings(PICKER) if getattr(one, "action", "").startswith("move")
    ]
    PLACEHOLDER: ClassVar[str]
    NOTHING: ClassVar[str]
    """Text shown when nothing matches."""

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
        """Rows that match the typed text."""

    def show(self) -> None:
        """Update the list."""
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


class Ask(Dialog[tuple[Asked]], Generic[Asked]):
    """Return the parsed input, in a tuple of one.

    Arguments:
        title: title of the dialog.
        now: initial text.
        expected: placeholder of the empty input.
        parse: converts the text; raises ValueError with the reason if it is refused.
    """

    DEFAULT_CSS = """
    Ask Input { margin: 1 0; }
    """
    SUB_TITLE = "Enter apply   Esc cancel"

    def __init__(self, title: str, now: str, expected: str, parse: Callable[[str], Asked]) -> None:
        super().__init__()
        self.title, self._now, self._expected, self._parse = title, now, expected, parse

    def body(self) -> Iterable[Widget]:
        yield Input(self._now, placeholder=self._expected)
        yield Static(id="problem", markup=False)

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        try:
            self.dismiss((self._parse(event.value),))
        except ValueError as error:
            self.query_one("#problem", Static).update(Text(str(error), "red"))


ANSWERS = {
    "detach": "d  detach: they continue; `bntui` finds them again",
    "stop": "s  stop: each writes a checkpoint and can be resumed",
    "stay": "c  cancel",
}


class Leave(Dialog[str]):
    """Return "detach" or "stop", or None to stay.

    Arguments:
        alive: runs that are not finished.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings(QUIT)
    TITLE = "Quit"

    def __init__(self, alive: Sequence[RunView]) -> None:
        super().__init__()
        self._alive = alive

    def body(self) -> Iterable[Widget]:
        count = len(self._alive)
        names = ", ".join(view.name for view in self._alive[:4]) + (" …" if count > 4 else "")
        yield Static(Text(f"{count} run{'s' * (count != 1)} not finished: {names}"), markup=False)
        yield Listing()

    def on_mount(self) -> None:
        self.query_one(Listing).show([ListRow(Text(text), answer) for answer, text in ANSWERS.items()])

    @on(Listing.Chosen)
    def _chosen(self, event: Listing.Chosen) -> None:
        self.action_answer(event.key)

    def action_answer(self, answer: str) -> None:
        self.dismiss(None if answer == "stay" else answer)


def place_of(text: str) -> float | Span:
    """Parse a position such as ``5,000``, or a range such as ``0:5,000``.

    Raises:
        ValueError: the text is neither.
    """
    plain = text.replace(",", "")
    span = span_of(plain, log=False) if ":" in plain else None
    if span is not None:
        return span
    try:
        number = float(plain)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("expected a number, or two, such as 5000 or 0:5000")
    return number


TITLES = {
    "everywhere": "Everywhere", "home": "List of all runs", "runs": "All pages about runs", "charts": "Charts",
    "curves": "Charts of curves", "lists": "Lists", "always": "Always, unless a line of text is edited",
    "windows": "Windows", "help": "This help", "picker": "Choosing charts", "layouts": "Saved layouts",
    "quit": "Quitting", "requests": "Composing a request", "filters": "Filters", "queries": "Filters of runs",
}  # fmt: skip


HELP_INDENT = 17
"""Cells before what keys do."""


class Help(Dialog[None]):
    """The table of keys; scrolls, and any of the usual keys closes it.

    Arguments:
        scopes: scopes of the screen that opened it.
        actions: the table of actions, with the keys in effect.
    """

    DEFAULT_CSS = """
    Help > .window { width: 92; height: 90%; }
    Help Listing { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings(HELP)
    TITLE = "Keys"
    SUB_TITLE = "↑↓ scroll   Esc back"

    def __init__(self, scopes: tuple[str, ...], actions: Sequence[Action]) -> None:
        super().__init__()
        self._rows = help_rows(scopes, actions)

    def body(self) -> Iterable[Widget]:
        yield Listing()

    def on_mount(self) -> None:
        self._show()

    def on_resize(self) -> None:
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        """Show the rows, wrapped to the width of the window."""
        listing = self.query_one(Listing)
        width, console = listing.text_width, self.app.console
        listing.show([line for row in self._rows for line in wrapped(row, width, console, HELP_INDENT)])


def help_rows(scopes: tuple[str, ...], actions: Sequence[Action]) -> list[ListRow]:
    """A heading for each scope and a row for each of its actions: first these scopes, then scopes on the same
    screen, then all others."""
    rows: list[ListRow] = []
    together = {scope for screen in SCREENS if {*scopes} <= screen for scope in screen}

    def distance(scope: str) -> int:
        return scopes.index(scope) if scope in scopes else len(scopes) + (scope not in together)

    for scope in sorted(dict.fromkeys(action.scope for action in actions), key=distance):
        keys: dict[str, list[str]] = {}
        for action in actions_of((scope,), actions):
            keys.setdefault(action.help, []).extend(action.all_keys)
        title = TITLES.get(scope, f"{scope.capitalize()} page")
        rows.append(ListRow(Text(title, STRONG)))
        for meaning, names in keys.items():
            if names:
                text = Text().append(f"  {' '.join(names):<{HELP_INDENT - 3}} ", "bold cyan").append(meaning)
                rows.append(ListRow(text, f"{title} {meaning}"))
        rows.append(ListRow(Text("", MUTED)))
    return rows
