"""What is watched now, and the newest snapshot of it."""

from __future__ import annotations

from collections.abc import Callable

from bncore.config.errors import escape_control
from bncore.follow.run_view import RunView
from bntui.live.playback import Playback
from bntui.live.snapshot import Snapshot
from bntui.live.sources import Root, Source
from bntui.live.watch import Watcher


class SnapshotFeed:
    """The newest snapshot of the source that is watched now; sources are exchanged under it.

    Arguments:
        on_ready: called in another thread when there is something newer to show.
    """

    def __init__(self, on_ready: Callable[[], object]) -> None:
        self.snapshot: Snapshot | None = None
        """What is shown; None before anything was read."""
        self.failure = ""
        """Why nothing can be read; escaped."""
        self._on_ready = on_ready
        self._watcher: Watcher | None = None
        self._newest: Snapshot | None = None

    @property
    def playback(self) -> Playback | None:
        """The controls of the playback, where one is watched."""
        source = self._watcher.source if self._watcher is not None else None
        return source if isinstance(source, Playback) else None

    def watch(self, make: Callable[[], Source]) -> None:
        """Watch another source; what was watched before is so no longer."""
        self.stop()
        self.snapshot, self._newest, self.failure = None, None, ""
        self._watcher = Watcher(make, self._changed, self._failed)

    def stop(self) -> None:
        """Watch no more."""
        if self._watcher is not None:
            self._watcher.stop()

    def require(self, enough: Callable[[RunView], bool]) -> None:
        """Have the list of all runs read as much of each as is enough, where it has read too little."""
        source = self._watcher.source if self._watcher is not None else None
        if isinstance(source, Root):
            source.enough = enough

    def wake(self) -> None:
        """Poll at once: a request was sent, or a playback was moved."""
        if self._watcher is not None:
            self._watcher.wake()

    def advance(self) -> None:
        """Make the newest snapshot the one that is shown."""
        self.snapshot = self._newest or self.snapshot

    def _changed(self, snapshot: Snapshot) -> None:
        self._newest = snapshot
        self._on_ready()

    def _failed(self, reason: str) -> None:
        self.failure = escape_control(reason)
        self._on_ready()
