"""The state of a run according to Slurm, for login nodes, which share only the directory with the run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from threading import Thread

from bncore.launch.slurm.array import Record, read_record, record_file
from bncore.launch.slurm.client import QueuedTask, squeue
from bncore.store.owner import Owner, read_owner
from bncore.store.paths import RunDir, SweepDir
from bncore.store.status import LIVE, Observer, Status

POLL_EVERY_S = 5.0
"""Seconds between two queries of the queue, to spare the controller, which serves all users."""


class Queue:
    """The state of sweeps' tasks in Slurm, polled every `POLL_EVERY_S` at most.

    Arguments:
        clock: monotonic clock, in seconds.
        wait: whether `task` waits for an answer; if not, it returns the last one, and a thread queries Slurm.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, wait: bool = True) -> None:
        self._clock = clock
        self._wait = wait
        self._seen: dict[SweepDir, tuple[float, Record | None, dict[str, QueuedTask] | None]] = {}
        self._due: set[SweepDir] = set()
        self._thread: Thread | None = None

    def task(self, run: RunDir) -> QueuedTask | None:
        """The newest task of a run, in state `GONE` if Slurm no longer knows it; None if the run was never
        submitted to Slurm, or if Slurm cannot be queried or has not answered yet."""
        record, tasks = self._latest(run.sweep)
        name = record.task_of(run) if record is not None else None
        return None if name is None or tasks is None else tasks.get(name, QueuedTask(name, GONE))

    def _latest(self, sweep: SweepDir) -> tuple[Record | None, dict[str, QueuedTask] | None]:
        at, record, tasks = self._seen.get(sweep, (float("-inf"), None, None))
        if self._clock() - at < POLL_EVERY_S:
            return record, tasks
        if self._wait or not record_file(sweep).exists():
            return self._query(sweep)
        self._seen[sweep] = self._clock(), record, tasks
        self._due.add(sweep)
        if self._thread is None or not self._thread.is_alive():
            self._thread = Thread(target=self._query_all_due, name="squeue", daemon=True)
            self._thread.start()
        return record, tasks

    def _query(self, sweep: SweepDir) -> tuple[Record | None, dict[str, QueuedTask] | None]:
        record = read_record(sweep)
        ids = [job.id for job in record.jobs] if record is not None else []
        tasks = squeue(ids) if ids else None
        self._seen[sweep] = self._clock(), record, tasks
        return record, tasks

    def _query_all_due(self) -> None:
        while self._due:
            self._query(self._due.pop())


GONE = "GONE"
"""State of a task that Slurm no longer knows because it ended a while ago."""


def state_by_slurm(
    queue: Queue, run: RunDir, status: Status | None, observer: Observer
) -> tuple[str, Status] | None:
    """State and status of a run, if Slurm knows better than the run's own heartbeat; else None."""
    if status is None or status.state in ("finished", "diverged", "failed"):
        return None
    task = queue.task(run)
    if task is None:
        return None
    return state_by_task(status, read_owner(run), task, supervised=observer.supervised(run.sweep))


def state_by_task(
    status: Status, holder: Owner | None, task: QueuedTask, *, supervised: bool = False
) -> tuple[str, Status] | None:
    """State and status of a run given its newest task; see `state_by_slurm`.

    Arguments:
        holder: the process that holds the run.
        task: the newest task of the run.
        supervised: whether a local supervisor will start the sweep's queued runs.
    """
    theirs = holder is not None and holder.task == task.name
    over = task.ended or task.state == GONE
    why = f"Slurm's task {task.name} " + (
        "is no longer known to Slurm" if task.state == GONE else f"ended: {_in_words(task)}"
    )
    if status.state in LIVE:
        if not theirs:  # from an earlier task, or a local run: trust the heartbeat
            return None
        if over:
            return "dead", replace(status, message=f"{why}; `bnrun resume` continues")
        return _queued(status, task) if task.waiting else None
    if task.waiting or (status.state == "queued" and not over):
        return _queued(status, task)
    if status.state == "queued" and not supervised:
        return "dead", replace(status, message=f"{why}; `bnrun resume` continues")
    return None


def _queued(status: Status, task: QueuedTask) -> tuple[str, Status]:
    waiting = f"Slurm's task {task.name} {_in_words(task)}"
    return "queued", replace(status, state="queued", rate=None, eta_s=None, message=waiting)


def _in_words(task: QueuedTask) -> str:
    reason = "" if task.state == "CANCELLED" else task.reason  # Slurm keeps why a cancelled task had waited
    return task.state.lower() + (f" ({reason})" if reason else "")
