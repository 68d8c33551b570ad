"""Lines of parts that leave out the least important ones where there is no room; that of the keys is one."""

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
    """What goes first when there is no room: the highest, of equals the last one of a line."""


def fit(left: Sequence[Segment], right: Sequence[Segment], width: int, gap: str = "  ") -> Text:
    """Parts at the left and parts at the right end of `width` cells; at last the only ones left are cut."""
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
    """Cells of parts beside each other."""
    return sum(part.text.cell_len for part in parts) + len(gap) * max(0, len(parts) - 1)


class Line(Widget):
    """One row of the screen; draws only when what it says has changed."""

    DEFAULT_CSS = """
    Line { height: 1; width: 1fr; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._left: tuple[Segment, ...] = ()
        self._right: tuple[Segment, ...] = ()

    def say(self, left: Sequence[Segment], right: Sequence[Segment] = ()) -> None:
        """Show these parts."""
        if (self._left, self._right) != (tuple(left), tuple(right)):
            self._left, self._right = tuple(left), tuple(right)
            self.refresh()

    @property
    def room(self) -> int:
        """Cells for the parts: all but one at each end."""
        return max(0, self.size.width - 2)

    @property
    def text(self) -> Text:
        """The line as it is drawn."""
        return Text(" ").append_text(fit(self._left, self._right, self.room)).append(" ")

    def render_line(self, y: int) -> Strip:
        text = self.text
        segments = text.render(self.app.console, end="")
        return Strip(segments).crop_extend(0, self.size.width, None).apply_style(self.rich_style)


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
            text = Text().append(keys, Style(bold=True)).append(f" {label}", Style(dim=True))
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
