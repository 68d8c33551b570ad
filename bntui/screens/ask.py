"""Asks for something in a line of text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from rich.text import Text
from textual import on
from textual.widget import Widget
from textual.widgets import Input, Static

from bntui.screens.dialog import Dialog

Asked = TypeVar("Asked")


class Ask(Dialog[tuple[Asked]], Generic[Asked]):
    """Answers what was typed.

    Arguments:
        title: of the window.
        now: the text that stands there.
        expected: said while nothing does.
        parse: what a text means; raises ValueError, which says why it is refused.
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


def number_of(text: str) -> float:
    """``5,000`` or ``0.3``.

    Raises:
        ValueError: it is no finite number.
    """
    try:
        number = float(text.replace(",", ""))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("expected a number, such as 5000")
    return number
