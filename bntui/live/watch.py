"""The thread that reads: it polls a source, and hands on a snapshot whenever something changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from bncore.config.errors import escape_control
from bntui.live.release import release_memory
from bntui.live.snapshot import Snapshot
from bntui.live.sources import Clock, Source

BUDGET_S = 0.15
"""Seconds of history read between two snapshots, so that what is new is never late."""
BREATH_S = 0.002
"""Pause between two such readings, in which other threads come to their turn."""
RELEASES = 10
"""Polls after which memory is given back when all has been read: until it has been drawn, too."""


class Watcher:
    """Watches a source from a thread of its own.

    Arguments:
        source: what is polled; by this thread alone.
        interval_s: seconds between polls; default: the source's own.
        clock: seconds that never go backwards; paces the polls.
    """

    def __init__(
        self, source: Source, *, interval_s: float | None = None, clock: Clock = time.monotonic
    ) -> None:
        self.source = source
        self._interval_s = interval_s
        self._clock = clock
        self._woken = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._last: Snapshot | None = None

    def start(self, on_change: Callable[[Snapshot], None]) -> None:
        """Begin to poll. `on_change` is called in the watcher's thread, first with the first poll, then with each
        that differs from the one before.

        Raises:
            RuntimeError: it was started before.
        """
        if self._thread is not None:
            raise RuntimeError("this watcher was started before")
        self._thread = threading.Thread(target=self._run, args=(on_change,), name="watcher", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Poll at once: a request was sent, or a playback was moved."""
        self._woken.set()

    def stop(self) -> None:
        """Poll no more; returns when the thread has ended. Never called from `on_change`."""
        self._stopping = True
        self._woken.set()
        if self._thread is not None:
            self._thread.join()

    def tick(self) -> Snapshot | None:
        """One poll; the snapshot if it differs from the last one. What the thread does, for whoever has none."""
        snapshot = self._poll()
        last, self._last = self._last, snapshot
        return None if last is not None and replace(last, t=snapshot.t) == snapshot else snapshot

    def _run(self, on_change: Callable[[Snapshot], None]) -> None:
        releases = 0
        while not self._stopping:
            if releases:
                release_memory()
            begun = self._clock()
            self._woken.clear()
            changed = self.tick()
            read = self._last is None or self._last.complete
            releases = max(0, releases - 1) if read else RELEASES
            if changed is not None and not self._stopping:
                on_change(changed)
            self._woken.wait(self._pause(self._clock() - begun))

    def _pause(self, spent: float) -> float:
        """Seconds to wait after a poll that took `spent`."""
        if self._last is not None and not self._last.complete and not self._last.problem:
            return BREATH_S
        interval = self.source.interval_s if self._interval_s is None else self._interval_s
        return max(BREATH_S, interval - spent)

    def _poll(self) -> Snapshot:
        try:
            return self.source.poll(BUDGET_S)
        except Exception as error:  # whatever a file system does, the picture stays and says so
            problem = escape_control(f"{type(error).__name__}: {error}")
            return replace(self._last or Snapshot(time.time()), problem=problem)
