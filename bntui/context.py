"""What a page is given: settings, selection, what is watched, and the way to other pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeAlias

from bncore.config.measure import Band
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
    """What the person has selected on the pages about runs, kept from page to page."""

    selected: Path | None = None
    """The directory of the run that is shown in detail and steered."""
    marked: set[Path] = field(default_factory=set)
    """Several runs, to be steered or compared together."""
    hidden: set[Path] = field(default_factory=set)
    """Runs whose curves are not drawn."""
    whole_sweep: bool = False
    """Whether every run is steered."""
    grouped: bool | None = None
    """Whether runs are shown and steered by group; None: where a variant has several."""
    by: tuple[str, ...] | None = None
    """Dotted paths of the settings that runs are grouped by, none: by variant; None: as the sweep says."""
    band: Band | None = None
    """What is drawn about a group's mean; None: as the sweep says."""
    faceted: str = ""
    """Key of the panel whose facets are shown; empty: none are."""
    facets: tuple[str, ...] = ()
    """Dotted paths of the settings whose values are facets; none: the variants are."""
    paper: bool = False
    """Whether the paper's own curves are drawn too."""
    marks: Marks | None = None
    """How events are marked in charts; None: with their texts, where those are few."""
    axis: Axis = "step"
    """What charts over the steps are drawn over."""
    layer: int | None = None
    step: float | None = None
    """Where the crosshair stands."""
    span: tuple[float | None, float | None] = None, None
    """The steps that are shown; None: whatever fits."""
    reference: Path | None = None
    """The run that others are compared with, by itself or with its group; never hidden."""

    def run(self, snapshot: Snapshot) -> RunView | None:
        """The selected run; the first where that one is gone from the snapshot."""
        run = next((view for view in snapshot.runs if view.run.path == self.selected), None)
        return run or next(iter(snapshot.runs), None)

    def shown(self, snapshot: Snapshot) -> list[RunView]:
        """The runs whose curves are drawn; the selected one last, so that it lies on top."""
        selected = self.run(snapshot)
        return sorted(self.drawn(snapshot), key=lambda view: view is selected)

    def drawn(self, snapshot: Snapshot) -> list[RunView]:
        """The runs that are not hidden, and the reference, in their order."""
        return [view for view in snapshot.runs if view.run.path not in self.hidden - {self.reference}]

    def targets(self, snapshot: Snapshot, groups: Sequence[Group]) -> tuple[RunView, ...]:
        """The runs that a request is for: the whole sweep, else the marked ones, else the selected group."""
        if self.whole_sweep:
            return snapshot.runs
        marked = tuple(view for view in snapshot.runs if view.run.path in self.marked)
        selected = self.group(groups)
        return marked or (() if selected is None else selected.runs)

    def group(self, groups: Sequence[Group]) -> Group | None:
        """The one that the selected run is in; the first where it is in none."""
        found = next((one for one in groups if any(v.run.path == self.selected for v in one.runs)), None)
        return found or next(iter(groups), None)

    def is_reference(self, group: Group) -> bool:
        """Whether others are compared with a group."""
        return any(view.run.path == self.reference for view in group.runs)

    def move(self, groups: Sequence[Group], by: int) -> None:
        """Select the first run of the group `by` rows further down."""
        selected = self.group(groups)
        if selected is not None:
            index = groups.index(selected) + by
            self.selected = groups[min(len(groups) - 1, max(0, index))].runs[0].run.path


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
