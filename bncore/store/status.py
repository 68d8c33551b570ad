"""The heartbeat `status.json`, and how to tell a live run from a dead one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal, get_args

import orjson
from pydantic import TypeAdapter

from bncore.store.errors import AlreadyOwnedError
from bncore.store.files import read_as, replace_file
from bncore.store.owner import acquire, read_owner
from bncore.store.paths import OwnedDir, RunDir, SweepDir

State = Literal["queued", "running", "paused", "stopped", "finished", "diverged", "failed"]
STATES: tuple[State, ...] = get_args(State)
LIVE: frozenset[State] = frozenset({"running", "paused"})
HEARTBEAT_S = 2.0
POLL_EVERY_S = 0.5
SILENCE_S = 120.0
"""A live run whose counter has not changed for this many seconds, by the observer's clock, counts as dead."""


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a run as reported by the run itself."""

    state: State
    step: int = 0
    """Updates made."""
    steps: int = 0
    """Updates to make."""
    rate: float | None = None
    """Recent updates per second."""
    eta_s: float | None = None
    """Seconds left at that rate."""
    counter: int = 0
    """Increases with every heartbeat."""
    t: float = field(default_factory=time.time)
    """Seconds since 1970 by the writer's clock: for display only, never for computing durations."""
    message: str = ""
    """Reason for the state, if it needs one."""
    machine: dict[str, float] = field(default_factory=dict)
    """Use of the machine since the previous heartbeat, by field of the table ``machine`` (`bncore.measures`);
    unknown figures are absent."""


_STATUS = TypeAdapter(Status)


def write_status(run: OwnedDir, status: Status) -> None:
    """Replace the heartbeat atomically.

    Raises:
        StoreError: the file system refuses.
    """
    replace_file(run.status_file, orjson.dumps(asdict(status)))


def read_status(run: OwnedDir) -> Status | None:
    """The last heartbeat; None if it is missing or invalid."""
    return read_as(_STATUS, run.status_file)


class Observer:
    """Watches heartbeats over time to find runs that claim to be live but are dead.

    Arguments:
        clock: monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._moved: dict[str, tuple[int, float]] = {}

    def state(self, run: RunDir, status: Status | None) -> str:
        """The state of a run, given its heartbeat.

        `dead` if it claims to be live but is not, or if it waits for a supervisor that is gone; `unknown` without
        a heartbeat; otherwise the state that the heartbeat reports.
        """
        if status is None:
            return "unknown"
        left = status.state == "queued" and read_status(run.sweep) and not self.supervised(run.sweep)
        return "dead" if left or self.dead(run, status) else status.state

    def supervised(self, sweep: SweepDir) -> bool:
        """Whether a supervisor is alive to start a sweep's queued runs and to answer requests to the sweep."""
        status = read_status(sweep)
        return status is not None and status.state in LIVE and not self.dead(sweep, status)

    def dead(self, run: OwnedDir, status: Status | None) -> bool:
        """Whether a run claims to be live but its process is gone or has been silent too long."""
        if status is None or status.state not in LIVE:
            return False
        holder = read_owner(run)
        if holder is None or holder.known_dead():
            return True
        now, key = self._clock(), os.fspath(run.path)
        counter, since = self._moved.get(key, (-1, now))
        if status.counter != counter:
            self._moved[key] = (status.counter, now)
            return False
        return now - since >= SILENCE_S


def find_stalled(
    runs: Sequence[OwnedDir],
    *,
    seconds: float = SILENCE_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> list[OwnedDir]:
    """Runs whose heartbeat counter does not change within `seconds` of this process's clock.

    Returns as soon as every counter has changed, which takes two seconds if all runs are alive.
    """
    started, first = clock(), [_counter(run) for run in runs]
    still = list(range(len(runs)))
    while still and clock() - started < seconds:
        sleep(POLL_EVERY_S)
        still = [i for i in still if _counter(runs[i]) == first[i]]
    return [runs[i] for i in still]


def _counter(run: OwnedDir) -> int | None:
    status = read_status(run)
    return None if status is None else status.counter


def set_unowned_state(run: RunDir, state: Literal["queued", "stopped"], message: str = "") -> bool:
    """Set the state of a run that no process holds to queued or stopped; False if it is held.

    Raises:
        StoreError: the file system refuses.
    """
    try:
        ownership = acquire(run)
    except AlreadyOwnedError:
        return False
    try:
        status = read_status(run) or Status("queued")
        write_status(run, Status(state, status.step, status.steps, message=message))
    finally:
        ownership.release()
    return True
