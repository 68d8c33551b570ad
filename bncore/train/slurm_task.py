"""The Slurm task in which a worker runs."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from bncore.store.owner import Owner
from bncore.store.status import HEARTBEAT_S

PATIENCE_S = 20.0
"""Seconds Slurm may take to answer: less than the time between TERM and KILL (30 s by default)."""
SHORT_SILENCE_S = 5 * HEARTBEAT_S
"""Seconds of silence after which a restarted task takes its run over from its own former process on another host.
Slurm never runs a task twice at the same time, so that process should be gone; if its node is only cut off from
Slurm, its heartbeat still changes."""


@dataclass(frozen=True, slots=True)
class SlurmTask:
    """One task of an array job."""

    name: str
    """``<array job>_<index>``."""
    restarts: int
    """How often it has been requeued."""

    def restarted_after(self, holder: Owner) -> bool:
        """Whether `holder` is a process of this task from before its last requeue."""
        return holder.task == self.name and holder.restarts < self.restarts

    def requeue(self) -> str:
        """Requeue this task; returns the reason if Slurm refuses, else an empty string."""
        try:
            done = _scontrol("requeue", self.name)
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        return "" if done.returncode == 0 else " ".join(done.stderr.split()) or "refused"

    def was_requeued(self) -> bool:
        """Whether Slurm itself has requeued the task while ending this process, as it does after preemption; False
        if Slurm cannot be queried."""
        try:
            done = _scontrol("show", "job", self.name)
        except (OSError, subprocess.TimeoutExpired):
            return False
        counted = re.search(r"\bRestarts=(\d+)", done.stdout)
        return counted is not None and int(counted[1]) > self.restarts


def this_task(environment: Mapping[str, str] = os.environ) -> SlurmTask | None:
    """The array task in which this process runs; None outside an array job."""
    job, index = environment.get("SLURM_ARRAY_JOB_ID", ""), environment.get("SLURM_ARRAY_TASK_ID", "")
    if not job.isdigit() or not index.isdigit():
        return None
    restarts = environment.get("SLURM_RESTART_COUNT", "0")
    return SlurmTask(f"{job}_{index}", int(restarts) if restarts.isdigit() else 0)


def _scontrol(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["scontrol", *arguments], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
