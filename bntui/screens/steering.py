"""Base class of the screens that steer: requests to the selected runs, and playback controls."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on, work

from bncore.config.observed import Observed
from bncore.follow.groups import Group
from bncore.follow.run_view import RunView
from bntui.actions import Action
from bntui.screens.page import Page
from bntui.steering.proposal import Proposal
from bntui.steering.send import send
from bntui.steering.verbs import AHEAD, VERBS
from bntui.widgets import formatting as fmt
from bntui.widgets.steering_bar import SteeringBar


def _foreign(runs: Sequence[RunView]) -> set[str]:
    """The verbs that mean nothing to these runs if all are observed loops, which declare what can be set."""
    declared = {control.name for view in runs for control in view.controls or ()}
    if not all(isinstance(view.settings, Observed) for view in runs):
        return set()
    return {key for key, verb in VERBS.items() if key == "fork" or (verb.sets and verb.sets not in declared)}


class SteeringPage(Page):
    """A screen with a `SteeringBar`."""

    @property
    def groups(self) -> tuple[Group, ...]:
        """Groups of runs that are listed, selected and steered."""
        return self.context.groups(self.snapshot) if self.snapshot else ()

    def labels(self) -> dict[str, str]:
        playback = self.context.feed.playback
        return {
            "whole_sweep": f"whole sweep: {'on' if self.selection.whole_sweep else 'off'}",
            "steer('pause')": self._pause_verb() if playback is None else playback.toggle_label,
        }

    def offered(self) -> list[Action]:
        """The table of actions without requests that no run accepts in its current state."""
        runs = self.snapshot.runs if self.snapshot else ()
        states = {view.state for view in runs}
        if not runs or self.context.feed.playback is not None:
            return super().offered()
        refused = {f"steer('{key}')" for key, verb in VERBS.items() if not verb.states & states}
        if states & (VERBS["resume"].states | VERBS["restart"].states):
            refused.discard("steer('pause')")
        refused |= {f"steer('{key}')" for key in _foreign(runs)}
        if not states & AHEAD:
            refused.add("whole_sweep")
        return [action for action in super().offered() if action.name not in refused]

    def _pause_verb(self) -> str:
        """Verb of the pause key for the current targets; pausing comes first if any of them is running."""
        targets = self.selection.targets(self.snapshot, self.groups) if self.snapshot else ()
        states = {view.state for view in targets}
        if "running" in states:
            return "pause"
        if "paused" in states:
            return "resume"
        return "restart" if states & {"stopped", "dead", "failed"} else "pause"

    def action_whole_sweep(self) -> None:
        self.selection.whole_sweep = not self.selection.whole_sweep
        self.show_again()

    def action_steer(self, verb: str) -> None:
        playback, refusal = self.context.feed.playback, self.context.steering_refusal()
        if verb == "pause" and playback is not None:
            playback.toggle()
            self._playback_moved()
        elif refusal:
            self.notice(refusal, "yellow")
        elif self.snapshot is not None and self.runs:
            verb = self._pause_verb() if verb == "pause" else verb
            self.query_one(SteeringBar).open(verb, self.snapshot, self.groups, self.selection)

    def action_playback_speed(self, factor: float) -> None:
        playback = self.context.feed.playback
        if playback is not None:
            playback.speed_up(factor)
            self._playback_moved()

    def action_playback_seek(self, seconds: float) -> None:
        playback = self.context.feed.playback
        if playback is not None:
            playback.seek(playback.position_s + seconds * playback.speed)
            self._playback_moved()

    def _playback_moved(self) -> None:
        self.context.feed.wake()
        self.show_again()

    @on(SteeringBar.Confirmed)
    def _send(self, event: SteeringBar.Confirmed) -> None:
        self._sending(event.proposal)

    @on(SteeringBar.Closed)
    def _bar_closed(self) -> None:
        self.focus_page()
        self.show_again()

    @work(thread=True, group="sending")
    def _sending(self, proposal: Proposal) -> None:
        names = fmt.targets_sentence(proposal.targets, self.groups)
        text = f"{proposal.sentence} to {names}"
        sending, sent = ("running", "done") if proposal.commands else ("sending request", "request sent")
        self.app.call_from_thread(self.notice, f"{sending}: {text}")
        problems = "; ".join(send(proposal))
        self.context.feed.wake()
        self.app.call_from_thread(self.notice, problems or f"{sent}: {text}", "red" if problems else "green")
