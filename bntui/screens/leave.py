"""What becomes of the runs that continue when the explorer is left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.binding import BindingType
from textual.widget import Widget
from textual.widgets import Static

from bncore.follow.run_view import RunView
from bntui.actions import QUIT, bindings
from bntui.screens.dialog import Dialog
from bntui.widgets.listing import Listing, ListRow

ANSWERS = {
    "detach": "d  detach: they continue; `bntui` finds them again",
    "stop": "s  stop: each writes a checkpoint and can be resumed",
    "stay": "c  cancel",
}


class Leave(Dialog[str]):
    """Answers "detach" or "stop"; None stays.

    Arguments:
        alive: the runs that continue.
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
