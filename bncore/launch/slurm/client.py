"""Wrappers of Slurm's commands, called with argument lists; failures become readable errors."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from bncore.store.errors import StoreError

PATIENCE_S = 60.0
"""Timeout of a command in seconds: a busy controller delays submissions."""
QUERY_S = 10.0
"""Timeout of a query of the queue, in seconds."""

ENDED = frozenset(
    {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED",
     "REVOKED", "TIMEOUT"}
)  # fmt: skip
"""States of a task that will not run again unless it is resubmitted."""
WAITING = frozenset({"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"})
"""States of a task that waits to run."""


class SlurmError(StoreError):
    """A Slurm command failed or is not installed; the message says which and why."""


@dataclass(frozen=True, slots=True)
class QueuedTask:
    """One task of an array, according to Slurm's queue."""

    name: str
    """``<array job>_<index>``."""
    state: str
    reason: str = ""

    @property
    def ended(self) -> bool:
        """Whether it will not run again."""
        return self.state in ENDED

    @property
    def waiting(self) -> bool:
        """Whether it waits to run."""
        return self.state in WAITING


def require(*commands: str) -> None:
    """Check that Slurm's commands are installed.

    Raises:
        SlurmError: one is missing.
    """
    for command in commands:
        if shutil.which(command) is None:
            raise SlurmError(
                f"{command}: not found; --launcher slurm needs Slurm's commands on this host (local runs without)"
            )


def sbatch(script: Path, *, hold: bool = False) -> str:
    """Submit a script; returns the job's id.

    Arguments:
        hold: submit the job on hold; see `release`.

    Raises:
        SlurmError: Slurm refuses.
    """
    output = _run(["sbatch", "--parsable", *(["--hold"] if hold else []), str(script)]).strip()
    job = output.splitlines()[-1].partition(";")[0] if output else ""
    if not job.isdigit():
        raise SlurmError(f"sbatch: expected a job's id, got {output!r}")
    return job


def release(job: str) -> None:
    """Release a job that was submitted on hold.

    Raises:
        SlurmError: Slurm refuses.
    """
    _run(["scontrol", "release", job])


def scancel(tasks: Sequence[str]) -> None:
    """Cancel tasks: a waiting task is removed from the queue, a running one receives SIGTERM.

    Raises:
        SlurmError: Slurm refuses.
    """
    if tasks:
        _run(["scancel", "--quiet", *tasks])


def squeue(jobs: Collection[str]) -> dict[str, QueuedTask] | None:
    """The tasks of these array jobs that Slurm still knows, by task name; None if Slurm cannot be queried."""
    command = ["squeue", "-h", "-r", "-t", "all", "-j", ",".join(sorted(jobs)), "-o", "%F|%K|%T|%r"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=QUERY_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return {} if "Invalid job id" in done.stderr else None
    tasks = {}
    for line in done.stdout.splitlines():
        job, index, state, reason = (*line.split("|", 3), "", "", "")[:4]
        tasks[f"{job}_{index}"] = QueuedTask(f"{job}_{index}", state, "" if reason == "None" else reason)
    return tasks


def _run(command: list[str]) -> str:
    require(command[0])
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise SlurmError(f"{command[0]}: no answer within {PATIENCE_S:.0f} s") from error
    if done.returncode != 0:
        name, errors = f"{command[0]}: ", " ".join(done.stderr.split())  # Slurm prefixes every line with it
        raise SlurmError(f"{name}{errors.removeprefix(name).replace(f' {name}', '; ') or 'refused'}")
    return done.stdout
