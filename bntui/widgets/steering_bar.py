"""The strip that steers: what will be asked, of whom and when, before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input

from bntui.widgets import formatting as fmt
from bntui.widgets.line import Line, Segment
from bntui.widgets.sidebar import selected, targets

if TYPE_CHECKING:
    from bncore.follow.run_view import RunView
    from bntui.live.snapshot import Snapshot
    from bntui.selection import Selection
    from bntui.steering.proposal import Proposal


class Typed(Input):
    """A line of text. What is offered is selected: what is typed takes its place, but a blank or an ``@`` goes on
    after it, since no value begins with those; the keys that move the cursor let it be edited."""

    DEFAULT_CSS = """
    Typed, Typed:focus { border: none; height: 1; padding: 0 1; background: $boost; }
    Typed:ansi > .input--selection { background: ansi_default; text-style: reverse; }
    Typed:nocolor > .input--selection { text-style: reverse; }
    """

    def offer(self, text: str) -> None:
        """Put a text there, selected."""
        self.value = text
        self.select_all()

    async def _on_key(self, event: events.Key) -> None:
        if event.character in (" ", "@") and self.value and self.selected_text == self.value:
            self.action_end()
            if event.character == "@":
                self.insert_text_at_cursor(" ")
        await super()._on_key(event)


class SteeringBar(Vertical):
    """Shown while something is asked; Enter sends, Escape leaves."""

    DEFAULT_CSS = """
    SteeringBar { height: 5; display: none; border: round $primary; border-title-style: bold;
            border-subtitle-color: $foreground; }
    SteeringBar.open { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "option(-1)", show=False),
        Binding("down", "option(1)", show=False),
        Binding("tab", "whom", show=False),
        Binding("escape", "leave", show=False),
    ]

    @dataclass
    class Confirmed(Message):
        """The person has seen it and wants it sent."""

        proposal: Proposal

    class Left(Message):
        """The strip was closed; nothing is to be sent by it any more."""

    def __init__(self) -> None:
        super().__init__(id="strip")
        self._verb = ""
        self._options: tuple[str, ...] = ()
        self._snapshot: Snapshot | None = None
        self._choice: Selection | None = None
        self._whole = False
        """Whether every run is asked this time."""
        self._proposal: Proposal | None = None

    def compose(self) -> ComposeResult:
        yield Line(id="options")
        yield Typed(id="typed", select_on_focus=False)
        yield Line(id="proposal")

    @property
    def is_open(self) -> bool:
        return self.has_class("open")

    @property
    def verb(self) -> str:
        """A key of `bntui.steering.verbs.VERBS`."""
        return self._verb

    def open(self, verb: str, snapshot: Snapshot, choice: Selection) -> None:
        """Ask what is to be sent."""
        from bntui.steering.proposal import offered
        from bntui.steering.verbs import VERBS

        self._verb, self._snapshot, self._choice, self._whole = verb, snapshot, choice, choice.whole
        self._options = offered(verb, selected(snapshot, choice))
        self.border_title = VERBS[verb].title
        choose = "↑↓ choose   " if len(self._options) > 1 else ""
        self.border_subtitle = f"{choose}Enter send   Tab whom   Esc leave"
        self.add_class("open")
        typed = self.query_one(Typed)
        typed.placeholder = VERBS[verb].hint or "@ and a step, or nothing: at the next one"
        typed.offer(self._options[0] if self._options else "")
        typed.focus()
        self._consider()

    def close(self) -> None:
        """Ask no more."""
        if self.is_open:
            self.remove_class("open")
            self._proposal = None
            self.post_message(self.Left())

    def update(self, snapshot: Snapshot) -> None:
        """Runs have moved on: some may no longer be there to be asked."""
        if self.is_open:
            self._snapshot = snapshot
            self._consider()

    def action_option(self, by: int) -> None:
        if self._options:
            typed = self.query_one(Typed)
            at = self._options.index(typed.value) + by if typed.value in self._options else 0
            typed.offer(self._options[at % len(self._options)])

    def action_whom(self) -> None:
        self._whole = not self._whole
        self._consider()

    def action_leave(self) -> None:
        self.close()

    @on(Input.Changed)
    def _typed(self) -> None:
        self._consider()

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self._consider()
        proposal = self._proposal
        if self.is_open and proposal is not None:
            self.close()
            self.post_message(self.Confirmed(proposal))

    def _consider(self) -> None:
        """What the text comes to now, in words; or why it comes to nothing."""
        from bncore.config.errors import SpecError
        from bntui.steering.proposal import propose
        from bntui.steering.verbs import complaint

        if not self.is_open or self._snapshot is None or self._choice is None:
            return
        text = self.query_one(Typed).value
        runs = targets(self._snapshot, replace(self._choice, whole=self._whole))
        self.query_one("#options", Line).say(_options(self._options, text))
        line = self.query_one("#proposal", Line)
        try:
            self._proposal = propose(self._verb, text, runs, self._snapshot.sweeps, whole=self._whole)
        except SpecError as error:
            self._proposal = None
            line.say([Segment(Text(f"✗ {complaint(error)}", "red"))])
            return
        line.say(*self._sentence(self._proposal))

    def _sentence(self, proposal: Proposal) -> tuple[list[Segment], list[Segment]]:
        palette = fmt.palette_of(self.app)
        text = Text("→ ", fmt.MUTED).append(proposal.sentence, fmt.STRONG).append("  to ", fmt.MUTED)
        text.append_text(_names(proposal.asked, [fmt.color(palette, v.style) for v in proposal.asked]))
        when = "at the next step" if proposal.at is None else f"at step {proposal.at:,}"
        if proposal.commands:
            when = "" if proposal.at is None else when
        left = [Segment(text), Segment(Text(when, fmt.MUTED), 3)]
        if proposal.passed:
            left.append(Segment(Text(f"not to {_names(proposal.passed)}", fmt.MUTED), 4))
        return left, []


def _names(views: Sequence[RunView], styles: Sequence[object] = ()) -> Text:
    text = Text()
    for index, view in enumerate(views[:4]):
        text.append(", " if index else "").append(view.name, str(styles[index]) if styles else "")
    more = len(views) - 4
    return text.append(f" and {more} more") if more > 0 else text


def _options(options: Sequence[str], text: str) -> list[Segment]:
    """What is offered, the chosen one marked; what they all begin with is said once."""
    names = {option.partition("=")[0] for option in options}
    parts = []
    for index, option in enumerate(options):
        said = option.partition("=")[2] if len(names) == 1 and " " not in option and "=" in option else option
        chosen = option == text
        parts.append(Segment(Text(f" {said} ", "reverse bold" if chosen else ""), 0 if chosen else 1 + index))
    return parts
