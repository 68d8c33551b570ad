"""Shared state of all pages: settings, selection, snapshots, and navigation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeAlias

from bncore.config.measure import Band
from bncore.figure import Span
from bncore.follow.groups import Group, groups_of
from bncore.follow.run_view import RunView
from bncore.store.paths import RunDir, SweepDir
from bntui.actions import REQUESTS, Action, rebound
from bntui.live.axes import Axis
from bntui.live.grouping import Grouping
from bntui.live.marks import Marks
from bntui.live.snapshot import Snapshot
from bntui.live.watch import SnapshotFeed
from bntui.preferences import Settings

RunOrSweep: TypeAlias = RunDir | SweepDir


@dataclass
class Selection:
    """Selections on the pages about runs, shared by all of them."""

    selected: Path | None = None
    """Directory of the run that is shown in detail and steered."""
    marked: set[Path] = field(default_factory=set)
    """Directories of runs marked to be steered or compared together."""
    hidden: set[Path] = field(default_factory=set)
    """Directories of runs whose curves are not drawn."""
    whole_sweep: bool = False
    """Whether requests go to every run."""
    grouped: bool | None = None
    """Whether runs are shown and steered by group; None: if any group has several runs."""
    by: tuple[str, ...] | None = None
    """Dotted paths of the settings that runs are grouped by; empty: by variant; None: the sweep's choice."""
    band: Band | None = None
    """Band drawn around a group's mean; None: the sweep's choice."""
    faceted: str = ""
    """Key of the panel whose facets are shown; empty: no facets."""
    facets: tuple[str, ...] = ()
    """Dotted paths of the settings whose values define the facets; empty: a facet for each variant."""
    paper: bool = False
    """Whether the paper's curves are drawn as well."""
    marks: Marks | None = None
    """How events are marked in charts; None: with texts if there are few, else with numbers."""
    axis: Axis = "step"
    """X axis of charts over steps."""
    layer: int | None = None
    step: float | None = None
    """Step of the crosshair; None if it is off."""
    span: Span | None = None
    """Range of steps shown; None: fit to the data."""
    reference: Path | None = None
    """Directory of the reference run, which others are compared with, alone or with its group; never hidden."""

    def run(self, snapshot: Snapshot) -> RunView | None:
        """The selected run, or the first one if it is no longer in the snapshot."""
        run = next((view for view in snapshot.runs if view.run.path == self.selected), None)
        return run or next(iter(snapshot.runs), None)

    def shown(self, snapshot: Snapshot) -> list[RunView]:
        """Runs whose curves are drawn, with the selected one last, so that it is on top."""
        selected = self.run(snapshot)
        return sorted(self.drawn(snapshot), key=lambda view: view is selected)

    def drawn(self, snapshot: Snapshot) -> list[RunView]:
        """Runs that are not hidden, and the reference, in order."""
        return [view for view in snapshot.runs if view.run.path not in self.hidden - {self.reference}]

    def targets(self, snapshot: Snapshot, groups: Sequence[Group]) -> tuple[RunView, ...]:
        """Target runs of a request: the whole sweep, else the marked runs, else the selected group."""
        if self.whole_sweep:
            return snapshot.runs
        marked = tuple(view for view in snapshot.runs if view.run.path in self.marked)
        selected = self.group(groups)
        return marked or (() if selected is None else selected.runs)

    def group(self, groups: Sequence[Group]) -> Group | None:
        """The group that contains the selected run, or the first group if none does."""
        match = next((one for one in groups if any(v.run.path == self.selected for v in one.runs)), None)
        return match or next(iter(groups), None)

    def is_reference(self, group: Group) -> bool:
        """Whether the group contains the reference run."""
        return any(view.run.path == self.reference for view in group.runs)

    def move(self, groups: Sequence[Group], by: int) -> None:
        """Select the first run of the group `by` rows further down."""
        selected = self.group(groups)
        if selected is not None:
            index = groups.index(selected) + by
            self.selected = groups[min(len(groups) - 1, max(0, index))].runs[0].run.path


class Navigator(Protocol):
    """Navigation to other pages."""

    def view_page(self, name: str) -> None:
        """Go to a page about the watched runs."""

    def open_runs(self, paths: Sequence[RunOrSweep], page: str = "sweep") -> None:
        """Watch some runs and sweeps, and go to a page about them."""

    def go_home(self) -> None:
        """Go back to the list of all runs."""


@dataclass
class PageContext:
    """State shared by all pages."""

    settings: Settings
    feed: SnapshotFeed
    navigator: Navigator
    selection: Selection = field(default_factory=Selection)
    query: str = ""
    """Filter of the list of all runs."""
    warned: set[str] = field(default_factory=set)
    """Warnings that have been shown."""
    _grouping: Grouping = field(default_factory=Grouping)

    @cached_property
    def actions(self) -> tuple[Action, ...]:
        """The table of actions, with custom keys."""
        return rebound(self.settings.keys)

    def key(self, action: str) -> str:
        """Key of an action, by the action's id; if it has none, its entry in the palette."""
        match = next(one for one in self.actions if one.id == action)
        return match.key or f"“{match.label}” of the palette"

    def grouping(self, snapshot: Snapshot) -> Grouping | None:
        """How runs are grouped; None: single runs."""
        selection, grouping = self.selection, self._grouping
        grouping.choose(snapshot, selection.by, selection.band, self.settings.band)
        grouped = selection.grouped
        if grouped is None:
            grouped = any(len(group.runs) > 1 for group in grouping.groups(snapshot.runs))
        return grouping if grouped else None

    def groups(self, snapshot: Snapshot) -> tuple[Group, ...]:
        """Groups that are listed, selected and steered; without grouping, one for each run."""
        grouping = self.grouping(snapshot)
        if grouping is None:
            return tuple(Group(view.name, view.style, (view,)) for view in snapshot.runs)
        return groups_of(snapshot.runs, grouping.by)

    def labels(self) -> list[str]:
        """Labels of special modes, for the heading."""
        playback = self.feed.playback
        labels = []
        if self.settings.demo or playback is not None:
            labels.append("PLAYBACK, not live")
        if playback is not None:
            labels.append("paused" if playback.paused else f"×{playback.speed:g}")
        return [*labels, "read-only"] if self.settings.read_only else labels

    def offered(self) -> list[Action]:
        """The table of actions without those that would be refused or do nothing here."""
        return [action for action in self.actions if self._is_offered(action)]

    def _is_offered(self, action: Action) -> bool:
        if action.name.startswith("playback_"):
            return self.feed.playback is not None
        if action.name == "steer('pause')" and self.feed.playback is not None:
            return True
        return not (self.steering_refusal() and (action.changes_runs or action.scope == REQUESTS))

    def steering_refusal(self) -> str:
        """Why no request can be sent; empty if requests can be sent."""
        if self.settings.demo or self.feed.playback is not None:
            return "a playback cannot be steered"
        return "read-only: no requests are sent" if self.settings.read_only else ""
