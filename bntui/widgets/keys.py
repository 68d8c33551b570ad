"""The last line of a screen: what can be done here, or for a moment what has just happened."""

from __future__ import annotations

from collections.abc import Iterable

from rich.style import Style
from rich.text import Text

from bntui.actions import Action
from bntui.widgets.line import Line, Segment

NOTICE_S = 8.0
"""How long a notice replaces the keys."""


class KeyLine(Line):
    """Keys of the table of actions, as many as there is room for."""

    DEFAULT_CSS = """
    KeyLine { dock: bottom; background: $panel; }
    """

    def __init__(self) -> None:
        super().__init__(id="keys")
        self._parts: tuple[list[Segment], list[Segment]] = ([], [])
        self._notices = 0

    def offer(self, actions: Iterable[Action], labels: dict[str, str]) -> None:
        """Offer these actions.

        Arguments:
            labels: those that depend on what holds now, by the action's name.
        """
        self._parts = ([], [])
        for action, *others in _paired(sorted(actions, key=lambda action: action.rank)):
            label, keys = (
                labels.get(action.name, action.label),
                " ".join(one.key for one in (action, *others)),
            )
            text = Text(keys, Style(bold=True)).append(f" {label}", Style(dim=True))
            self._parts[action.name in ("help", "leave")].append(Segment(text, action.rank))
        if not self._notices:
            self.say(*self._parts)

    def notice(self, text: str, style: str = "") -> None:
        """Say what happened, for a moment; `text` is escaped."""
        self._notices += 1
        this = self._notices
        self.say([Segment(Text(text, style))])

        def back() -> None:
            if this == self._notices:
                self._notices = 0
                self.say(*self._parts)

        self.set_timer(NOTICE_S, back)


def _paired(actions: list[Action]) -> list[list[Action]]:
    """Those that are offered, of which one label is said once: ``[ ] layer``."""
    same: dict[tuple[str, str], list[Action]] = {}
    for action in actions:
        if action.rank < 9 and action.key:
            same.setdefault((action.scope, action.label), []).append(action)
    return list(same.values())
