"""What the explorer is opened with, and how it gets at runs; light to import."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from bncore.store.paths import RunDir, SweepDir
    from bntui.live.sources import Source

    Place: TypeAlias = RunDir | SweepDir


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for on the command line, and what the terminal allows."""

    root: Path
    """Where sweeps lie."""
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
    """Where snapshots come from: the disk, or made ones in tests. Called from other threads than the app's."""

    def home(self) -> Source:
        """Every run under the root, lightly."""
        ...

    def open(self, places: Sequence[Place]) -> Source:
        """Some runs and sweeps with everything they measured."""
        ...


@dataclass
class Selection:
    """What the person has chosen on the screens of the runs, kept from screen to screen."""

    selected: Path | None = None
    """The directory of the run that is looked at and asked."""
    marked: set[Path] = field(default_factory=set)
    """Several runs, to be asked or compared together."""
    hidden: set[Path] = field(default_factory=set)
    """Runs whose curves are not drawn."""
    whole: bool = False
    """Whether every run is asked."""
    paper: bool = False
    """Whether the paper's own curves are drawn too."""
    layer: int | None = None
    step: float | None = None
    """Where the crosshair stands."""
    reference: Path | None = None
    """The run that others are compared with."""
