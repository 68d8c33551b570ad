"""The steering bar: shows which request goes to which runs and when, before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input, Static

from bncore.config.errors import SpecError
from bncore.follow.groups import Group
from bntui.actions import ALWAYS, REQUESTS, bindings
from bntui.context import Selection
from bntui.live.snapshot import Snapshot
from bntui.steering.proposal import Proposal, propose, suggestions
from bntui.steering.verbs import VERBS, error_line
from bntui.widgets import formatting as fmt
from bntui.widgets.line import Line, Segment


class RequestInput(Input):
    """An input whose suggestion is selected: typing replaces it, but a space or ``@`` continues it, since no value
    begins with either; the cursor keys start editing it."""

    DEFAULT_CSS = """
    RequestInput, RequestInput:focus { border: none; height: 1; padding: 0 1; background: $boost; }
    RequestInput:ansi > .input--selection { background: ansi_default; text-style: reverse; }
    RequestInput:nocolor > .input--selection { text-style: reverse; }
    """
    SCOPES: ClassVar[tuple[str, ...]] = (REQUESTS, ALWAYS)
    """Scopes in the table of actions of the keys that work while it is edited."""

    def offer(self, text: str) -> None:
        """Insert a suggestion, selected."""
        self.value = text
        self.select_all()

    async def _on_key(self, event: events.Key) -> None:
        if event.character in (" ", "@") and self.value and self.selected_text == self.value:
            self.action_end()
            if event.character == "@":
                self.insert_text_at_cursor(" ")
        await super()._on_key(event)


class SteeringBar(Vertical):
    """Visible while a request is being composed; Enter sends it, Escape cancels."""

    DEFAULT_CSS = """
    SteeringBar { height: auto; min-height: 5; max-height: 50%; display: none; border: round $primary;
                  border-title-style: bold; border-subtitle-color: $foreground; }
    SteeringBar.open { display: block; }
    SteeringBar Static { padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings(REQUESTS)

    @dataclass
    class Confirmed(Message):
        """The user has confirmed the request."""

        proposal: Proposal

    class Closed(Message):
        """The bar was closed, after confirming or canceling."""

    def __init__(self) -> None:
        super().__init__(id="steering-bar")
        self._verb = ""
        """A key of `bntui.steering.verbs.VERBS`."""
        self._options: tuple[str, ...] = ()
        self._snapshot: Snapshot | None = None
        self._selection: Selection | None = None
        self._groups: Sequence[Group] = ()
        self._whole_sweep = False
        """Whether this request goes to every run."""
        self._proposal: Proposal | None = None

    def compose(self) -> ComposeResult:
        yield Line(id="options")
        yield RequestInput(id="typed", select_on_focus=False)
        yield Static(id="proposal", markup=False)

    @property
    def is_open(self) -> bool:
        return self.has_class("open")

    def open(self, verb: str, snapshot: Snapshot, groups: Sequence[Group], selection: Selection) -> None:
        """Start composing a request."""
        self._verb, self._snapshot, self._selection, self._groups = verb, snapshot, selection, groups
        self._whole_sweep = selection.whole_sweep
        self._options = suggestions(verb, selection.run(snapshot))
        self.border_title = VERBS[verb].title
        self.add_class("open")
        typed = self.query_one(RequestInput)
        typed.placeholder = VERBS[verb].hint or "@STEP; empty: at the next step"
        typed.offer(self._options[0] if self._options else "")
        typed.focus()
        self._update_proposal()

    def close(self) -> None:
        """Cancel the request."""
        if self.is_open:
            self.remove_class("open")
            self._proposal = None
            self.post_message(self.Closed())

    def update(self, snapshot: Snapshot, groups: Sequence[Group]) -> None:
        """Update the proposal for the current state of the runs."""
        if self.is_open:
            self._snapshot, self._groups = snapshot, groups
            self._update_proposal()

    def action_option(self, by: int) -> None:
        if self._options:
            typed = self.query_one(RequestInput)
            index = self._options.index(typed.value) + by if typed.value in self._options else 0
            typed.offer(self._options[index % len(self._options)])

    def action_targets(self) -> None:
        self._whole_sweep = not self._whole_sweep
        self._update_proposal()

    def action_leave(self) -> None:
        self.close()

    @on(Input.Changed)
    def _typed(self) -> None:
        self._update_proposal()

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self._update_proposal()
        proposal = self._proposal
        if self.is_open and proposal is not None:
            self.close()
            self.post_message(self.Confirmed(proposal))

    def _update_proposal(self) -> None:
        """Show what the text would send, or why it cannot be sent."""
        if not self.is_open or self._snapshot is None or self._selection is None:
            return
        text = self.query_one(RequestInput).value
        whole_sweep = self._whole_sweep
        targets = replace(self._selection, whole_sweep=whole_sweep).targets(self._snapshot, self._groups)
        self.query_one("#options", Line).say(_options(self._options, text))
        proposal = self.query_one("#proposal", Static)
        sweeps = self._snapshot.sweeps
        try:
            self._proposal = propose(self._verb, text, targets, sweeps, whole_sweep=whole_sweep)
        except SpecError as error:
            self._proposal = None
            proposal.update(Text(f"✗ {error_line(error)}", "red"))
        else:
            proposal.update(self._sentence(self._proposal))
        choose = "↑↓ choose   " if len(self._options) > 1 else ""
        send = "Enter send   " if self._proposal else ""
        self.border_subtitle = f"{choose}{send}Tab targets   Esc cancel"

    def _sentence(self, proposal: Proposal) -> Text:
        text = Text().append("→ ", fmt.MUTED).append(proposal.sentence, fmt.STRONG).append("  to ", fmt.MUTED)
        text.append(fmt.targets_sentence(proposal.targets, self._groups), fmt.STRONG)
        when = "at the next step" if proposal.at is None else f"at step {proposal.at:,}"
        if proposal.commands:
            when = "" if proposal.at is None else when
        more = [when, proposal.now]
        if proposal.skipped:
            states = ", ".join(dict.fromkeys(view.state for view in proposal.skipped))
            more.append(f"not to {fmt.run_names(proposal.skipped)} ({states})")
        return Text("  ").join([text, *(Text(one, fmt.MUTED) for one in more if one)])


def _options(options: Sequence[str], text: str) -> list[Segment]:
    """The suggestions with the current one highlighted; a setting name shared by all is omitted."""
    names = {option.partition("=")[0] for option in options}
    parts = []
    for index, option in enumerate(options):
        is_value = len(names) == 1 and " " not in option and "=" in option
        label = f" {option.partition('=')[2] if is_value else option} "
        current = option == text
        parts.append(Segment(Text(label, "reverse bold" if current else ""), 0 if current else 1 + index))
    return parts
