"""Where a run continues: the state of a checkpoint, and which of its journal's events are not in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bncore.config.change import Changes
from bncore.store.dropped_requests import in_effect, is_applied
from bncore.store.journal import REPLAYED_EVENTS, Event


@dataclass(frozen=True)
class ResumePoint:
    """What of a run is in a state: everything before a step, and some of what was requested there."""

    step: int = 0
    """The first update to make."""
    changes: Changes = field(default_factory=dict)
    """Settings that are no longer as the spec says."""
    requests: tuple[str, ...] = ()
    """Ids of the requests of that step that are in the state; an id means the same in a fork's journal."""
    evaluated: bool = False
    """Whether that step has been evaluated."""
    copied: bool = False
    """Whether the state is a copy of another run's, whose notes and evaluation are in that run's journal."""

    def events_ahead(self, events: Sequence[Event]) -> list[Event]:
        """The events of a run's journal that are not in the state, in order: requests to be applied, events to be
        repeated, evaluations to be made anew (`UNMADE`)."""
        ahead, notes = [], 0
        for event in in_effect(events, unmade=True):
            kind, here = event["type"], event["step"] == self.step
            if event["step"] < self.step or kind not in REPLAYED_EVENTS | {"request"}:
                continue
            if kind == "request" and event["id"] in self.requests:
                notes += is_applied(event, "note") and not self.copied
            elif kind == "note" and here and notes:
                notes -= 1
            elif not (kind == "eval" and here and self.evaluated):
                ahead.append(event)
        return ahead


START = ResumePoint()
"""The state at initialization."""
