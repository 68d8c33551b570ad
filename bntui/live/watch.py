"""What is watched: a thread opens it, polls it, and hands on a snapshot whenever something has changed."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from bncore.config.errors import escape_control
from bncore.follow.run_view import RunView
from bncore.store.paths import RunDir, SweepDir
from bntui.live.playback import Playback
from bntui.live.snapshot import Snapshot
from bntui.live.sources import Clock, Root, Runs, Source

BUDGET_S = 0.15
"""Seconds of history read between two snapshots, so that what is new is never late."""
BREATH_S = 0.002
"""Pause between two such readings, in which other threads come to their turn."""
RELEASES = 10
"""Polls after which memory is given back when all has been read: until it has been drawn, too."""


class Watcher:
    """Opens and watches a source in a thread of its own, from when it is made until it is stopped.

    Arguments:
        make: opens the source.
        on_change: called with the first snapshot, then with each that differs from the one before; never after
            `stop` has returned.
        on_failure: called with the reason where the source cannot be opened, likewise.
        interval_s: seconds between polls; default: the source's own.
        clock: seconds that never go backwards; paces the polls.
    """

    def __init__(
        self,
        make: Callable[[], Source],
        on_change: Callable[[Snapshot], None],
        on_failure: Callable[[str], None],
        *,
        interval_s: float | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.source: Source | None = None
        """What is watched; None before it was opened."""
        self._make, self._on_change, self._on_failure = make, on_change, on_failure
        self._interval_s = interval_s
        self._clock = clock
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._stopping = False
        self.thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self.thread.start()

    def wake(self) -> None:
        """Poll at once: a request was sent, or a playback was moved."""
        self._woken.set()

    def stop(self) -> None:
        """Poll no more; returns when the thread has ended, or at once where it still opens the source. Never
        called from `on_change`."""
        with self._lock:
            self._stopping = True
        self._woken.set()
        if self.source is not None:
            self.thread.join()

    def _run(self) -> None:
        try:
            source = self._make()
        except Exception as error:  # shown on the screen: this thread has no caller to raise it to
            with self._lock:
                if not self._stopping:
                    self._on_failure(f"{type(error).__name__}: {error}")
            return
        with self._lock:
            if not self._stopping:
                self.source = source
        if self.source is not None:
            self._watch(source)

    def _watch(self, source: Source) -> None:
        last: Snapshot | None = None
        releases = 0
        while not self._stopping:
            if releases:
                release_memory()
            begun = self._clock()
            self._woken.clear()
            before, last = last, _poll(source, last)
            releases = max(0, releases - 1) if last.complete else RELEASES
            if not last.shows_the_same_as(before) and not self._stopping:
                self._on_change(last)
            interval = source.interval_s if self._interval_s is None else self._interval_s
            reading = not last.complete and not last.problem
            pause = 0.0 if reading else interval - (self._clock() - begun)
            self._woken.wait(max(BREATH_S, pause))


def _poll(source: Source, last: Snapshot | None) -> Snapshot:
    try:
        return source.poll(BUDGET_S)
    except Exception as error:  # whatever a file system does, the picture stays and says so
        problem = escape_control(f"{type(error).__name__}: {error}")
        return replace(last or Snapshot(time.time()), problem=problem)


def release_memory() -> None:
    """Give back what was freed, where the C library is glibc: it keeps what lies between blocks in use, a third
    of all after a long history was read. Elsewhere this does nothing."""
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> ctypes._NamedFuncPointer | None:
    try:
        found: ctypes._NamedFuncPointer | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    except (OSError, TypeError):  # no C library of this kind
        return None
    return found


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
    def _source(self) -> Source | None:
        return self._watcher.source if self._watcher is not None else None

    @property
    def playback(self) -> Playback | None:
        """The controls of the playback, where one is watched."""
        return self._source if isinstance(self._source, Playback) else None

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
        if isinstance(self._source, Root):
            self._source.enough = enough

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


class Disk:
    """Opens what lies under a root, or anywhere else.

    Arguments:
        speed: how fast runs are played back; None: they are shown as they are.
    """

    def __init__(self, root: Path, speed: float | None = None) -> None:
        self._root = Root(root)
        self._speed = speed

    def home(self) -> Source:
        """Every run under the root; the same source each time, since it knows already what it has read."""
        return self._root

    def open(self, paths: Sequence[RunDir | SweepDir]) -> Source:
        """These runs and sweeps."""
        runs = Runs(*paths)
        return runs if self._speed is None else Playback(runs, speed=self._speed)
