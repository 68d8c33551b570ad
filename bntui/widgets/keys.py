"""The last line of a screen: what can be done here, or for a moment what has just happened."""

from __future__ import annotations

from collections.abc import Iterable

from rich.style import Style
from rich.text import Text

from bntui.actions import Action
from bntui.widgets.line import Line, Segment

NOTICE_S = 8.0
"""How long a notice stands in the place of the keys."""


class KeyLine(Line):
    """Keys of the table of actions, as many as there is room for."""

    DEFAULT_CSS = """
    KeyLine { dock: bottom; background: $panel; }
    """

    def __init__(self) -> None:
        super().__init__(id="keys")
        self._parts: tuple[list[Segment], list[Segment]] = ([], [])
        self._notices = 0

    def offer(self, actions: Iterable[Action], said: dict[str, str]) -> None:
        """Offer these actions.

        Arguments:
            said: labels that depend on what holds now, by the action's name.
        """
        shown = sorted((a for a in actions if a.rank < 9), key=lambda action: action.rank)
        parts = [Segment(_key(a, said.get(a.name, a.label)), a.rank) for a in _paired(shown)]
        general = {"help", "leave"}
        names = [a.name for a in _paired(shown)]
        left = [part for part, name in zip(parts, names, strict=True) if name not in general]
        right = [part for part, name in zip(parts, names, strict=True) if name in general]
        self._parts = (left, right)
        if not self._notices:
            self.say(left, right)

    def notice(self, text: str, style: str = "") -> None:
        """Say what happened, for a moment; `text` is harmless."""
        self._notices += 1
        this = self._notices
        self.say([Segment(Text(text, style))])

        def back() -> None:
            if this == self._notices:
                self._notices = 0
                self.say(*self._parts)

        self.set_timer(NOTICE_S, back)


def _paired(actions: list[Action]) -> list[Action]:
    """Actions of which one label is said once: ``[ ] layer``."""
    found: dict[str, Action] = {}
    for action in actions:
        found.setdefault(f"{action.scope} {action.label}", action)
    return list(found.values())


def _key(action: Action, label: str) -> Text:
    key = "[ ]" if action.key == "[" else action.key
    return Text(key, Style(bold=True)).append(f" {label}", Style(dim=True))
