"""Snapshots: the watched runs and sweeps at one moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from bncore.config.errors import escape_control
from bncore.config.measure import Band
from bncore.follow.run_view import RunView
from bncore.store.paths import SweepDir


@dataclass(frozen=True)
class SweepView:
    """A sweep at one moment."""

    sweep: SweepDir
    name: str
    title: str
    """Title of the experiment; empty if sweep.toml has none."""
    experiment: str
    """Name of the experiment or preset."""
    figure: str
    """Figure of the paper; empty if it reproduces none."""
    state: str
    """State of its supervisor: running, stopped, finished or dead; empty if it has none on this machine."""
    group_by: tuple[str, ...] = ()
    """Dotted paths of the settings that its runs are grouped by; empty: by variant."""
    band: Band = "interval"
    """Band drawn around a group's mean."""


@dataclass(frozen=True)
class Snapshot:
    """Everything watched, at one moment. Snapshots between which nothing changed have equal sweeps and runs."""

    t: float
    """Seconds since 1970; in a playback, the played-back time."""
    sweeps: tuple[SweepView, ...] = ()
    runs: tuple[RunView, ...] = ()
    complete: bool = False
    """Whether the history of every run has been read."""
    problem: str = ""
    """What could not be read; escaped."""

    def shows_the_same_as(self, other: Snapshot | None) -> bool:
        """Whether the two differ in nothing but time."""
        return other is not None and replace(other, t=self.t) == self


def names_of_data(views: Iterable[RunView]) -> tuple[str, ...]:
    """Names of the runs' training data, from their journals; escaped."""
    titles = {str(view.columns.start["data"]) for view in views if "data" in view.columns.start}
    return tuple(escape_control(title) for title in sorted(titles))


def on_synthetic_images(views: Iterable[RunView]) -> bool:
    """Whether any of the runs uses synthetic images."""
    return any(view.submitted is not None and view.submitted.data.source == "synthetic" for view in views)
