"""Base class of all screens: a heading, the key line, and the snapshot on display."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar, TypeVar

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.screen import Screen
from textual.widget import Widget

from bncore.follow.estimate import duration, time_left
from bncore.follow.run_view import RunView
from bntui.actions import EVERYWHERE, Action, actions_of
from bntui.context import PageContext, Selection
from bntui.live.snapshot import Snapshot, on_synthetic_images
from bntui.widgets import formatting as fmt
from bntui.widgets.filter import Filter
from bntui.widgets.line import KeyLine, Line, Segment

Answer = TypeVar("Answer")


def heading(
    snapshot: Snapshot | None,
    tab: str,
    width: int,
    labels: list[str],
    keys: Mapping[str, str],
    *,
    playback: bool = False,
) -> tuple[list[Segment], list[Segment]]:
    """Left and right parts of the heading: the current page, and overall progress.

    Arguments:
        keys: key of each page, by page name.
    """
    left = [Segment(Text("bntui", fmt.MUTED), 8)]
    if snapshot is None:
        return [*left, Segment(Text("opening …"))], []
    left += _names(snapshot)
    left += _tabs(tab, width, keys)
    if on_synthetic_images(snapshot.runs):
        labels = [*labels, "synthetic images"]
    right = [Segment(Text(label, "bold yellow"), 1) for label in labels]
    if snapshot.problem:
        right.append(Segment(Text(snapshot.problem, "red"), 2))
    return left, right + _progress(snapshot, "running" if playback else "live")


def _names(snapshot: Snapshot) -> list[Segment]:
    if len(snapshot.sweeps) != 1:
        return [Segment(Text(f"{len(snapshot.sweeps)} sweeps", fmt.STRONG), 3)]
    sweep = snapshot.sweeps[0]
    parts = [Segment(Text(sweep.name, fmt.STRONG), 3)]
    return parts + ([Segment(Text(f"Fig {sweep.figure}", fmt.MUTED), 6)] if sweep.figure else [])


def _tabs(tab: str, width: int, keys: Mapping[str, str]) -> list[Segment]:
    if width < 100:
        return [Segment(Text(f"{keys.get(tab, '')} {tab}", "reverse"), 2)]
    text = Text()
    for name, key in keys.items():
        label = f" {key} {name} " if width >= 175 or name == tab else f" {key} "
        text.append(" " if width >= 175 and text else "").append(
            label, "reverse" if name == tab else fmt.MUTED
        )
    return [Segment(text, 4)]


def _progress(snapshot: Snapshot, running: str) -> list[Segment]:
    runs = snapshot.runs
    if not runs:
        return [Segment(Text("no runs", fmt.MUTED))]
    state = fmt.state_of_all({view.state for view in runs})
    sign, style = fmt.STATES[state]
    parts = [Segment(Text(f"{sign} {running if state == 'running' else state}", style), 1)]
    if not snapshot.complete:
        parts.insert(0, Segment(Text("reading …", "yellow"), 1))
    existing = [view for view in runs if view.state != "gone"]
    total = sum(view.steps for view in existing)
    done = sum(min(view.step, view.steps) for view in existing)
    left = time_left(runs)
    queued, gone = (sum(view.state == one for view in runs) for one in ("queued", "gone"))
    if total:
        parts.append(Segment(Text(f"{done:,} / {total:,}", fmt.MUTED), 7))
        parts.append(Segment(Text(fmt.percent(done / total)), 0))
    if left is not None:
        parts.append(Segment(Text(f"ETA {duration(left)}"), 3))
    if queued:
        parts.append(Segment(Text(f"{queued} queued", fmt.MUTED), 5))
    if gone and existing:
        parts.append(Segment(Text(f"{gone} gone", "red"), 2))
    devices = {view.spec.device for view in existing if view.spec}
    return parts + ([Segment(Text(devices.pop(), fmt.MUTED), 6)] if len(devices) == 1 else [])


TINY_WIDTH, TINY_HEIGHT = 40, 10
"""On smaller terminals one line says so, and only quitting works."""
LEAVING = ("leave", "quit")


class Page(Screen[None]):
    """One screen of the explorer."""

    DEFAULT_CSS = """
    Page { layout: vertical; background: $background; }
    Page #heading { background: $panel; }
    Page .titled { border: round $foreground 25%; border-title-color: $foreground; border-title-style: bold;
                   padding: 0 1; }
    Page.tiny > * { display: none !important; }
    Page.tiny > #heading { display: block !important; }
    """
    AUTO_FOCUS = ""
    SCOPES: ClassVar[tuple[str, ...]] = (EVERYWHERE,)
    """Scopes in the table of actions, the most specific first."""

    def __init__(self, context: PageContext) -> None:
        super().__init__()
        self.context = context

    def compose(self) -> ComposeResult:
        yield Line(id="heading")
        yield from self.body()
        yield KeyLine()

    def body(self) -> Iterable[Widget]:
        """Widgets between the heading and the key line."""
        return ()

    @property
    def snapshot(self) -> Snapshot | None:
        return self.context.feed.snapshot

    @property
    def runs(self) -> tuple[RunView, ...]:
        """Runs of the snapshot."""
        return self.snapshot.runs if self.snapshot else ()

    @property
    def selection(self) -> Selection:
        """Selection shared by the pages about runs."""
        return self.context.selection

    def on_screen_resume(self) -> None:
        self.show_again()
        self.call_after_refresh(self._focus_unless_focused)

    def go_back(self) -> None:
        """Go to the page before this one, if any."""

    def focus_page(self) -> None:
        """Focus the page's main widget."""

    @on(events.Resize)
    def _resized(self, event: events.Resize) -> None:
        self.set_class(event.size.width < TINY_WIDTH or event.size.height < TINY_HEIGHT, "tiny")
        self.call_after_refresh(self._show_at_size)

    def _show_at_size(self) -> None:
        self.show_again()
        self._focus_unless_focused()  # a hidden widget loses the focus

    def _focus_unless_focused(self) -> None:
        if self.focused is None and not self.is_tiny:
            self.focus_page()

    @property
    def is_tiny(self) -> bool:
        """Whether there is room for the heading only."""
        return self.has_class("tiny")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action in LEAVING if self.is_tiny else True

    def show_again(self) -> None:
        if not self.is_mounted:
            return
        snapshot = self.snapshot
        if not self.is_tiny:
            self._offer_keys()
            if snapshot is not None:
                self.show(snapshot)
        self.query_one("#heading", Line).say(*(self._too_small() if self.is_tiny else self.heading()))

    @on(events.DescendantFocus)
    @on(events.DescendantBlur)
    def _offer_keys(self) -> None:
        """Show the keys of the page in the key line, or while text is edited, those that work there."""
        scopes = getattr(self.focused, "SCOPES", self.SCOPES)
        self.query_one(KeyLine).offer(actions_of(scopes, self.offered()), self.labels())

    def offered(self) -> list[Action]:
        """The table of actions without those that would be refused or do nothing here."""
        return [one for one in self.context.offered() if one.name != "go_back" or self.has_before]

    @property
    def has_before(self) -> bool:
        """Whether there is a page before this one."""
        return False

    def _too_small(self) -> tuple[list[Segment], list[Segment]]:
        text = Text(f"too small, min {TINY_WIDTH}×{TINY_HEIGHT}", "yellow")
        return [Segment(text, 1)], [Segment(Text(f"{self.context.key('everywhere.leave')} quit", "bold"))]

    def heading(self) -> tuple[list[Segment], list[Segment]]:
        """Left and right parts of the heading."""
        return [Segment(Text("bntui", "bold"))], []

    def labels(self) -> dict[str, str]:
        """Labels in the key line that depend on the current state, by action name."""
        return {}

    def show(self, snapshot: Snapshot) -> None:
        """Show a snapshot."""

    def action_filter(self) -> None:
        self.query_one(Filter).open()

    @on(Filter.Typed)
    def _filtered(self, event: Filter.Typed) -> None:
        self.show_again()
        if event.done:
            self.focus_page()

    def ask(self, dialog: Screen[Answer | None], use: Callable[[Answer], object]) -> None:
        """Open a dialog and use its answer, unless it is canceled."""

        def answered(answer: Answer | None) -> None:
            if answer is not None:
                use(answer)

        self.app.push_screen(dialog, answered)

    def notice(self, text: str, style: str = "") -> None:
        """Show a notice in the key line."""
        self.query_one(KeyLine).notice(text, style)
