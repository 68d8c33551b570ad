"""Runs on disk, live or played back, as sources of snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bntui.live.playback import Playback
from bntui.live.sources import Root, Runs, Source
from bntui.selection import Settings

if TYPE_CHECKING:
    from bntui.selection import RunOrSweep


class Disk:
    """Opens what lies under a root, or anywhere else."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._root: Root | None = None

    def home(self) -> Source:
        """Every run under the root; the same source each time, since it knows already what it has read."""
        self._root = self._root or Root(self._settings.root)
        return self._root

    def open(self, paths: Sequence[RunOrSweep]) -> Source:
        """These runs and sweeps; played back where the settings give a speed."""
        runs = Runs(*paths)
        speed = self._settings.speed
        return runs if speed is None else Playback(runs, speed=speed)
