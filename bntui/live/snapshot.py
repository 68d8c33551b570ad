"""What the explorer shows at one moment: the runs and sweeps that it watches."""

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
    """What the experiment is about; empty where sweep.toml does not say."""
    experiment: str
    """The preset's name."""
    figure: str
    """Of the paper; empty where it is none."""
    state: str
    """Of its supervisor: running, stopped, finished or dead; empty where it has none on this machine."""
    group_by: tuple[str, ...] = ()
    """Dotted paths of the settings that its runs are grouped by; none: by variant."""
    band: Band = "interval"
    """What is drawn about a group's mean."""


@dataclass(frozen=True)
class Snapshot:
    """Everything watched, at one moment. Snapshots between which nothing changed have equal sweeps and runs."""

    t: float
    """Seconds since 1970; of a playback, by the clock of the run's own time."""
    sweeps: tuple[SweepView, ...] = ()
    runs: tuple[RunView, ...] = ()
    complete: bool = False
    """Whether the history of every run has been read."""
    problem: str = ""
    """What could not be read of all this; escaped."""

    def shows_the_same_as(self, other: Snapshot | None) -> bool:
        """Whether nothing but the time has changed."""
        return other is not None and replace(other, t=self.t) == self


def names_of_data(views: Iterable[RunView]) -> tuple[str, ...]:
    """What the runs were trained on, as their journals say it; escaped."""
    titles = {str(view.columns.start["data"]) for view in views if "data" in view.columns.start}
    return tuple(escape_control(title) for title in sorted(titles))


def on_synthetic_images(views: Iterable[RunView]) -> bool:
    """Whether any of the runs is on images that are no photographs."""
    return any(view.submitted is not None and view.submitted.data.source == "synthetic" for view in views)
