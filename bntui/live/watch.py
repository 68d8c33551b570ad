"""Watching a source: a thread opens it, polls it, and passes on a snapshot whenever something has changed."""

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
"""Seconds spent reading history between two snapshots, so that new events are never delayed."""
BREATH_S = 0.002
"""Pause between two such reads, in seconds, which lets other threads run."""
DRAWING_S = 0.2
"""Pause after the first snapshot, in seconds, in which it is drawn before history is read."""
RELEASES = 10
"""Number of polls that still release memory after everything has been read, by when it has been drawn, too."""


class Watcher:
    """Opens and watches a source in its own thread, from construction until `stop`.

    Arguments:
        make: opens the source.
        on_change: called with the first snapshot, then with each that differs from the previous one; never after
            `stop` has returned.
        on_failure: called with the reason if the source cannot be opened; never after `stop` has returned.
        interval_s: seconds between polls; default: the source's interval.
        clock: monotonic clock in seconds, for pacing the polls.
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
        """The watched source; None until it has been opened."""
        self._make, self._on_change, self._on_failure = make, on_change, on_failure
        self._interval_s = interval_s
        self._clock = clock
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._stopping = False
        self.thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self.thread.start()

    def wake(self) -> None:
        """Poll now, as after sending a request or moving a playback."""
        self._woken.set()

    def stop(self) -> None:
        """Stop polling. Returns when the thread has ended, or immediately while it is still opening the source.
        Must not be called from `on_change`."""
        with self._lock:
            self._stopping = True
        self._woken.set()
        if self.source is not None:
            self.thread.join()

    def _run(self) -> None:
        try:
            source = self._make()
        except Exception as error:  # shown on screen: this thread has no caller to raise to
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
            started = self._clock()
            self._woken.clear()
            before, last = last, _poll(source, last)
            releases = max(0, releases - 1) if last.complete else RELEASES
            if not last.shows_the_same_as(before) and not self._stopping:
                self._on_change(last)
            interval = source.interval_s if self._interval_s is None else self._interval_s
            reading = not last.complete and not last.problem
            drawing = DRAWING_S if before is None else 0.0
            pause = drawing if reading else interval - (self._clock() - started)
            self._woken.wait(max(BREATH_S, pause))


def _poll(source: Source, last: Snapshot | None) -> Snapshot:
    try:
        return source.poll(BUDGET_S)
    except Exception as error:  # on any file system error, keep the picture and show the problem
        problem = escape_control(f"{type(error).__name__}: {error}")
        return replace(last or Snapshot(time.time()), problem=problem)


def release_memory() -> None:
    """Return freed memory to the system. glibc keeps free memory between blocks in use, a third of the total after
    reading a long history. With other C libraries this does nothing."""
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> ctypes._NamedFuncPointer | None:
    try:
        trim: ctypes._NamedFuncPointer | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    except (OSError, TypeError):  # no C library of this kind
        return None
    return trim


class SnapshotFeed:
    """The newest snapshot of the current source, which can be replaced by another.

    Arguments:
        on_ready: called in another thread when there is a newer snapshot or a failure to show.
    """

    def __init__(self, on_ready: Callable[[], object]) -> None:
        self.snapshot: Snapshot | None = None
        """Snapshot on display; None until something has been read."""
        self.failure = ""
        """Why the source cannot be opened; escaped."""
        self._on_ready = on_ready
        self._watcher: Watcher | None = None
        self._newest: Snapshot | None = None

    @property
    def _source(self) -> Source | None:
        return self._watcher.source if self._watcher is not None else None

    @property
    def playback(self) -> Playback | None:
        """The playback being watched, for its controls; None for other sources."""
        return self._source if isinstance(self._source, Playback) else None

    def watch(self, make: Callable[[], Source]) -> None:
        """Watch another source instead of the current one."""
        self.stop()
        self.snapshot, self._newest, self.failure = None, None, ""
        self._watcher = Watcher(make, self._changed, self._failed)

    def stop(self) -> None:
        """Stop watching."""
        if self._watcher is not None:
            self._watcher.stop()

    def require(self, enough: Callable[[RunView], bool]) -> None:
        """Make the list of all runs read more of each run until `enough` holds for it."""
        if isinstance(self._source, Root):
            self._source.enough = enough

    def wake(self) -> None:
        """Poll now, as after sending a request or moving a playback."""
        if self._watcher is not None:
            self._watcher.wake()

    def advance(self) -> None:
        """Put the newest snapshot on display."""
        self.snapshot = self._newest or self.snapshot

    def _changed(self, snapshot: Snapshot) -> None:
        self._newest = snapshot
        self._on_ready()

    def _failed(self, reason: str) -> None:
        self.failure = escape_control(reason)
        self._on_ready()


class Disk:
    """Sources for runs on disk, under a root or elsewhere.

    Arguments:
        speed: playback speed; None: no playback.
    """

    def __init__(self, root: Path, speed: float | None = None) -> None:
        self._root = Root(root)
        self._speed = speed

    def home(self) -> Source:
        """Every run under the root; always the same source, since it keeps what it has read."""
        return self._root

    def open(self, paths: Sequence[RunDir | SweepDir]) -> Source:
        """Source of these runs and sweeps."""
        runs = Runs(*paths)
        return runs if self._speed is None else Playback(runs, speed=self._speed)
