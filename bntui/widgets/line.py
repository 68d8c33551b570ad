"""One-row widgets that drop their least important segments where there is no room, such as the key line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.style import Style
from rich.text import Text
from textual.strip import Strip
from textual.widget import Widget

from bntui.actions import Action


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a line."""

    text: Text
    rank: int = 0
    """Segments with the highest rank are dropped first; among equals, the last one of the line."""


def fit(left: Sequence[Segment], right: Sequence[Segment], width: int, gap: str = "  ") -> Text:
    """Lay out segments at the left and right ends of `width` cells; a segment left alone is truncated."""
    if width <= 0:
        return Text()
    left, right = list(left), list(right)
    while length([*left, *right], gap) > width and len(left) + len(right) > 1:
        worst = max([*reversed(right), *reversed(left)], key=lambda part: part.rank)
        (right if worst in right else left).remove(worst)
    line, end = _joined(left, gap), _joined(right, gap)
    if end:
        line.append(" " * max(len(gap), width - line.cell_len - end.cell_len))
    line.append_text(end)
    line.truncate(width, overflow="ellipsis", pad=True)
    return line


def _joined(parts: Sequence[Segment], gap: str) -> Text:
    return Text(gap).join([part.text for part in parts])


def length(parts: Sequence[Segment], gap: str = "  ") -> int:
    """Width of the segments side by side, in cells."""
    return sum(part.text.cell_len for part in parts) + len(gap) * max(0, len(parts) - 1)


class Line(Widget):
    """One row of the screen; redraws only when its segments change."""

    DEFAULT_CSS = """
    Line { height: 1; width: 1fr; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._left: tuple[Segment, ...] = ()
        self._right: tuple[Segment, ...] = ()

    def say(self, left: Sequence[Segment], right: Sequence[Segment] = ()) -> None:
        """Show these segments."""
        if (self._left, self._right) != (tuple(left), tuple(right)):
            self._left, self._right = tuple(left), tuple(right)
            self.refresh()

    @property
    def room(self) -> int:
        """Cells available to the segments: all but one at each end."""
        return max(0, self.size.width - 2)

    @property
    def text(self) -> Text:
        """The line as drawn."""
        return Text(" ").append_text(fit(self._left, self._right, self.room)).append(" ")

    def render_line(self, y: int) -> Strip:
        text = self.text
        segments = text.render(self.app.console, end="")
        return Strip(segments).crop_extend(0, self.size.width, None).apply_style(self.rich_style)


NOTICE_S = 8.0
"""Seconds for which a notice replaces the keys."""


class KeyLine(Line):
    """Keys and labels from the table of actions, as many as fit."""

    DEFAULT_CSS = """
    KeyLine { dock: bottom; background: $panel; }
    """

    def __init__(self) -> None:
        super().__init__(id="keys")
        self._parts: tuple[list[Segment], list[Segment]] = ([], [])
        self._notices = 0

    def offer(self, actions: Iterable[Action], labels: dict[str, str]) -> None:
        """Show these actions.

        Arguments:
            labels: labels that depend on the current state, by action name.
        """
        self._parts = ([], [])
        for action, *others in _paired(sorted(actions, key=lambda action: action.rank)):
            label = labels.get(action.name, action.label)
            keys = " ".join(one.key for one in (action, *others))
            text = Text().append(keys, Style(bold=True)).append(f" {label}", Style(dim=True))
            self._parts[action.name in ("help", "leave")].append(Segment(text, action.rank))
        if not self._notices:
            self.say(*self._parts)

    def notice(self, text: str, style: str = "") -> None:
        """Show a notice for a moment; `text` must be escaped already."""
        self._notices += 1
        this = self._notices
        self.say([Segment(Text(text, style))])

        def back() -> None:
            if this == self._notices:
                self._notices = 0
                self.say(*self._parts)

        self.set_timer(NOTICE_S, back)


def _paired(actions: list[Action]) -> list[list[Action]]:
    """Actions to show, grouped so that a shared label appears once: ``[ ] layer``."""
    same: dict[tuple[str, str], list[Action]] = {}
    for action in actions:
        if action.rank < 9 and action.key:
            same.setdefault((action.scope, action.label), []).append(action)
    return list(same.values())
