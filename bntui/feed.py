"""Sources watched in the background: each is opened and polled in threads of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

from bncore.config.errors import escape_control
from bncore.follow.run_view import RunView
from bntui.live.playback import Playback
from bntui.live.snapshot import Snapshot
from bntui.live.sources import Root, Source
from bntui.live.watch import Watcher


class SourceWorker:
    """One source, from when it is wanted until it is not.

    Arguments:
        make: opens the source; called in another thread.
        on_change: called with every snapshot in another thread, never after `stop` has returned.
        on_failure: called there with the reason where the source cannot be opened, likewise.
    """

    def __init__(
        self,
        make: Callable[[], Source],
        on_change: Callable[[Snapshot], None],
        on_failure: Callable[[str], None],
    ) -> None:
        self._make = make
        self._on_change = on_change
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._wanted = True
        self._watcher: Watcher | None = None
        self.thread = threading.Thread(target=self._begin, name="opening", daemon=True)
        """Opens the source, and ends."""
        self.thread.start()

    @property
    def source(self) -> Source | None:
        """What is watched; None before it was opened."""
        return None if self._watcher is None else self._watcher.source

    def wake(self) -> None:
        """Poll at once."""
        if self._watcher is not None:
            self._watcher.wake()

    def stop(self) -> None:
        """Watch no more."""
        with self._lock:
            self._wanted = False
            watcher = self._watcher
        if watcher is not None:
            watcher.stop()

    def _begin(self) -> None:
        try:
            watcher = Watcher(self._make())
        except Exception as error:  # shown on the screen: this thread has no caller to raise it to
            with self._lock:
                if self._wanted:
                    self._on_failure(f"{type(error).__name__}: {error}")
            return
        with self._lock:
            if self._wanted:
                self._watcher = watcher
                watcher.start(self._on_change)


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
        self._worker: SourceWorker | None = None
        self._newest: Snapshot | None = None

    @property
    def playback(self) -> Playback | None:
        """The controls of the playback, where one is watched."""
        source = self._worker.source if self._worker is not None else None
        return source if isinstance(source, Playback) else None

    def watch(self, make: Callable[[], Source]) -> None:
        """Watch another source; what was watched before is so no longer."""
        self.stop()
        self.snapshot, self._newest, self.failure = None, None, ""
        self._worker = SourceWorker(make, self._changed, self._failed)

    def stop(self) -> None:
        """Watch no more."""
        if self._worker is not None:
            self._worker.stop()

    def require(self, enough: Callable[[RunView], bool]) -> None:
        """Have the list of all runs read as much of each as is enough, where it has read too little."""
        source = self._worker.source if self._worker is not None else None
        if isinstance(source, Root):
            source.enough = enough

    def wake(self) -> None:
        """Poll at once: a request was sent, or a playback was moved."""
        if self._worker is not None:
            self._worker.wake()

    def advance(self) -> None:
        """Make the newest snapshot the one that is shown."""
        self.snapshot = self._newest or self.snapshot

    def _changed(self, snapshot: Snapshot) -> None:
        self._newest = snapshot
        self._on_ready()

    def _failed(self, reason: str) -> None:
        self.failure = escape_control(reason)
        self._on_ready()
