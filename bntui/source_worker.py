"""A source watched in the background, begun there too: the readers take longer to import than a first picture."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bntui.live.snapshot import Snapshot
    from bntui.live.sources import Source
    from bntui.live.watch import Watcher


class SourceWorker:
    """One source, from when it is wanted until it is not.

    Arguments:
        make: makes the source; called in another thread.
        on_change: called with every snapshot in another thread, never after `stop` has returned.
        on_failure: called there with the reason where the source cannot be made, likewise.
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
        """Makes the source, and ends."""
        self.thread.start()

    @property
    def source(self) -> Source | None:
        """What is watched; None before it was made."""
        return None if self._watcher is None else self._watcher.source

    def wake(self) -> None:
        """Look at once."""
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
        from bntui.live.watch import Watcher

        try:
            watcher = Watcher(self._make())
        except Exception as error:  # told on the screen, since this thread has nobody to raise it to
            with self._lock:
                if self._wanted:
                    self._on_failure(f"{type(error).__name__}: {error}")
            return
        with self._lock:
            if self._wanted:
                self._watcher = watcher
                watcher.start(self._on_change)
