"""The text of the array script: one task for each run, every value quoted."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bncore.config.errors import Problem, SpecError
from bncore.launch.slurm.options import SlurmOptions

_TEMPLATE = """\
#!/bin/bash
{directives}

# Written by bnrun. Given notice of its end (USR2), a task checkpoints and goes back into the queue. Ended (TERM),
# it checkpoints and stays ended, unless Slurm itself requeues it.
bnrun_sweep={sweep}
bnrun_runs=(
{runs}
)
bnrun_run=$bnrun_sweep/${{bnrun_runs[$SLURM_ARRAY_TASK_ID]}}
exec >>"$bnrun_run/log.txt" 2>&1
# Until the worker hears the notice itself:
trap 'scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"; exit 75' USR2

# ---- set-up
{setup}
# ---- the worker: in this shell's place, so that Slurm's signals reach it
exec {python} -m bncore.train.slurm_worker "$bnrun_run"
"""


def script(sweep: Path, runs: Sequence[str], options: SlurmOptions, *, jobs: int, threads: int) -> str:
    """The array script of a sweep.

    Arguments:
        sweep: its directory.
        runs: names of the runs' directories; task i is ``runs[i]``.
        jobs: how many tasks at once.
        threads: processors of each task.

    Raises:
        SpecError: a directory that the script cannot name; see `check_place`.
    """
    place = sweep.absolute()
    check_place(place)
    return _TEMPLATE.format(
        directives="\n".join(f"#SBATCH {option}" for option in _directives(place, runs, options, jobs, threads)),
        sweep=shlex.quote(str(place)),
        runs="\n".join(f"  {shlex.quote(name)}" for name in runs),
        setup=options.setup.strip("\n") or ":",
        python=shlex.quote(sys.executable),
    )  # fmt: skip


def check_place(place: Path) -> None:
    """Refuse a directory whose name a line of the script, or Slurm's file name patterns, cannot hold.

    Raises:
        SpecError: control characters or a backslash.
    """
    if not str(place.absolute()).isprintable() or "\\" in str(place.absolute()):
        accepted = "for Slurm, a path without control characters and backslashes"
        raise SpecError([Problem("--out", "", str(place), accepted)])


def _directives(
    place: Path, runs: Sequence[str], options: SlurmOptions, jobs: int, threads: int
) -> Iterator[str]:
    yield _directive("job-name", place.name)
    yield _directive("array", f"0-{len(runs) - 1}%{min(jobs, len(runs))}")
    yield "--requeue"
    yield _directive("signal", f"B:USR2@{options.notice}")  # B: to the script's own process
    yield "--open-mode=append"
    yield _directive("output", f"{place}/slurm-".replace("%", "%%") + "%A_%a.log")
    yield "--ntasks=1"
    yield _directive("cpus-per-task", str(threads))
    requested = {
        "partition": options.partition,
        "account": options.account,
        "qos": options.qos,
        "time": options.time,
        "gres": f"gpu:{options.gpus}" if options.gpus else "",
        "mem": options.memory,
        "constraint": options.constraint,
    }
    yield from (_directive(name, value) for name, value in requested.items() if value)


def _directive(name: str, value: str) -> str:
    return f"--{name}={shlex.quote(value)}"
