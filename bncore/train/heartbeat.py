"""The heartbeat: a thread that reports a run's progress every two seconds, while the run is still owned."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from bncore.store.errors import StoreError
from bncore.store.owner import Ownership
from bncore.store.paths import RunDir
from bncore.store.status import HEARTBEAT_S, State, Status, write_status
from bncore.train.usage import Figures, Machine

RATE_MEMORY = 0.6
"""Weight of the previous estimate in the exponential moving average of the rate."""


class Heartbeat:
    """Writes `status.json` in its own thread, so that a run in a long step or probe does not look dead.

    Arguments:
        run: the run directory, owned by `ownership`.
        steps, step: see the attributes.
        machine: the recorder of machine figures; None: record none.
    """

    def __init__(
        self,
        run: RunDir,
        ownership: Ownership,
        *,
        steps: int,
        step: int = 0,
        machine: Machine | None = None,
    ) -> None:
        self.step = step
        """Updates made; set by the trainer."""
        self.steps = steps
        """Updates to make; 0 if unknown."""
        self._run = run
        self._ownership = ownership
        self._machine = machine
        self._figures: Figures = {}
        self._state: State = "running"
        self._counter = 0
        self._rate: float | None = None
        self._since = step, time.monotonic()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="heartbeat", daemon=True)

    def start(self) -> None:
        self.beat()
        self._thread.start()

    def restart_at(self, step: int) -> None:
        """Count from this step: a resumed run may start before or after the step of its last heartbeat."""
        self.step = step
        self._since = step, time.monotonic()
        if self._machine is not None:
            self._machine.restart_at(step)

    def set_state(self, state: State, message: str = "") -> None:
        """Change the state and write the status at once; does nothing if the state is the same."""
        if state != self._state:
            self._state = state
            self.beat(message)

    def beat(self, message: str = "", *, record: bool = False) -> None:
        """Write the status now, if the run is still owned.

        Arguments:
            record: also record machine figures.
        """
        with self._lock:
            if not self._ownership.is_valid():
                return
            if record and self._machine is not None:
                self._figures = self._machine.record(self.step)
            self._counter += 1
            left = max(0, self.steps - self.step)
            has_rate = self.steps and self._state == "running"
            eta = left / self._rate if has_rate and self._rate else None
            progress = (self._state, self.step, self.steps, self._rate, eta, self._counter)
            status = Status(*progress, message=message, machine=self._figures)
            with suppress(StoreError):  # a full disk loses only a heartbeat; the journal raises
                write_status(self._run, status)

    def stop(self, state: State, message: str = "") -> None:
        """End the thread and write the last status."""
        self.abandon()
        self._state = state
        self.beat(message)

    def abandon(self) -> None:
        """End the thread without writing a status, because another process now owns the run."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._machine is not None:
            self._machine.close()

    def _loop(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            (before, at), now, step = self._since, time.monotonic(), self.step
            rate = max(0, step - before) / (now - at)  # a non-finite step is undone
            self._since = step, now
            if self._state == "running" and (rate or self._rate):  # no rate at all before the first step
                self._rate = rate if not self._rate else RATE_MEMORY * self._rate + (1 - RATE_MEMORY) * rate
            self.beat(record=True)
