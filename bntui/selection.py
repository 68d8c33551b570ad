"""What the explorer is opened with, and what is selected in it; light to import."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from bncore.follow.run_view import RunView
    from bncore.store.paths import RunDir, SweepDir
    from bntui.live.snapshot import Snapshot
    from bntui.live.sources import Source

    RunOrSweep: TypeAlias = RunDir | SweepDir


@dataclass(frozen=True, slots=True)
class Settings:
    """The command line's options, and what the terminal allows."""

    root: Path
    """The sweep root directory."""
    read_only: bool = False
    theme: str = "dark"
    """dark, light or ansi."""
    frame_s: float = 0.1
    """Seconds between two pictures, at least."""
    speed: float | None = None
    """How fast finished runs are played back; None: they are shown as they are."""
    demo: bool = False
    """Whether the recorded sweep is shown."""


class SourceFactory(Protocol):
    """Where snapshots come from: the disk, or tests. Called from other threads than the app's."""

    def home(self) -> Source:
        """Every run under the root, lightly."""
        ...

    def open(self, paths: Sequence[RunOrSweep]) -> Source:
        """Some runs and sweeps with everything they measured."""
        ...


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
    paper: bool = False
    """Whether the paper's own curves are drawn too."""
    layer: int | None = None
    step: float | None = None
    """Where the crosshair stands."""
    reference: Path | None = None
    """The run that others are compared with."""

    def run(self, snapshot: Snapshot) -> RunView | None:
        """The selected run; the first where that one is gone from the snapshot."""
        run = next((view for view in snapshot.runs if view.run.path == self.selected), None)
        return run or next(iter(snapshot.runs), None)

    def shown(self, snapshot: Snapshot) -> list[RunView]:
        """The runs whose curves are drawn; the selected one last, so that it lies on top."""
        selected = self.run(snapshot)
        views = [view for view in snapshot.runs if view.run.path not in self.hidden]
        return sorted(views, key=lambda view: view is selected)

    def targets(self, snapshot: Snapshot) -> tuple[RunView, ...]:
        """The runs that a request is for: the whole sweep, else the marked ones, else the selected one."""
        if self.whole_sweep:
            return snapshot.runs
        marked = tuple(view for view in snapshot.runs if view.run.path in self.marked)
        selected = self.run(snapshot)
        return marked or (() if selected is None else (selected,))

    def move(self, snapshot: Snapshot, by: int) -> None:
        """Select the run `by` rows further down."""
        paths = [view.run.path for view in snapshot.runs]
        if paths:
            index = paths.index(self.selected) if self.selected in paths else 0
            self.selected = paths[min(len(paths) - 1, max(0, index + by))]
