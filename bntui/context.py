"""What a page is given: the settings, the selection, what is watched, and the way to other pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from bncore.follow.groups import Group, groups_of
from bntui.actions import REQUESTS, Action, rebound
from bntui.live.grouping import Grouping
from bntui.live.snapshot import Snapshot
from bntui.live.watch import SnapshotFeed
from bntui.selection import RunOrSweep, Selection, Settings


class Navigator(Protocol):
    """The way to other pages."""

    def view_page(self, name: str) -> None:
        """Go to a page about the runs that are watched."""

    def open_runs(self, paths: Sequence[RunOrSweep], page: str = "sweep") -> None:
        """Watch some runs and sweeps, and go to a page about them."""

    def go_home(self) -> None:
        """Go back to the list of all runs."""


@dataclass
class PageContext:
    """What all pages share."""

    settings: Settings
    feed: SnapshotFeed
    navigator: Navigator
    selection: Selection = field(default_factory=Selection)
    query: str = ""
    """What the list of all runs is filtered by."""
    warned: set[str] = field(default_factory=set)
    """Warnings that have been on a screen."""
    _grouping: Grouping = field(default_factory=Grouping)

    @cached_property
    def actions(self) -> tuple[Action, ...]:
        """The table of actions, with the person's keys."""
        return rebound(self.settings.keys)

    def key(self, action: str) -> str:
        """What a person presses for an action, given by its id; in words where it has no key."""
        found = next(one for one in self.actions if one.id == action)
        return found.key or f"“{found.label}” of the palette"

    def grouping(self, snapshot: Snapshot) -> Grouping | None:
        """How runs are drawn together; None: each by itself."""
        selection, grouping = self.selection, self._grouping
        grouping.choose(snapshot, selection.by, selection.band, self.settings.band)
        grouped = selection.grouped
        if grouped is None:
            grouped = any(len(group.runs) > 1 for group in grouping.groups(snapshot.runs))
        return grouping if grouped else None

    def groups(self, snapshot: Snapshot) -> tuple[Group, ...]:
        """What is listed, selected and steered: groups of runs, or each run by itself."""
        grouping = self.grouping(snapshot)
        if grouping is None:
            return tuple(Group(view.name, view.style, (view,)) for view in snapshot.runs)
        return groups_of(snapshot.runs, grouping.by)

    def labels(self) -> list[str]:
        """What is out of the ordinary, for the heading."""
        playback = self.feed.playback
        labels = []
        if self.settings.demo or playback is not None:
            labels.append("PLAYBACK, not live")
        if playback is not None:
            labels.append("paused" if playback.paused else f"×{playback.speed:g}")
        return [*labels, "read-only"] if self.settings.read_only else labels

    def offered(self) -> list[Action]:
        """The table of actions without what would be refused, or do nothing, here."""
        return [action for action in self.actions if self._is_offered(action)]

    def _is_offered(self, action: Action) -> bool:
        if action.name.startswith("playback_"):
            return self.feed.playback is not None
        if action.name == "steer('pause')" and self.feed.playback is not None:
            return True
        return not (self.steering_refusal() and (action.changes_runs or action.scope == REQUESTS))

    def steering_refusal(self) -> str:
        """Why no request can be sent; empty where one can."""
        if self.settings.demo or self.feed.playback is not None:
            return "a playback cannot be steered"
        return "read-only: no requests are sent" if self.settings.read_only else ""
