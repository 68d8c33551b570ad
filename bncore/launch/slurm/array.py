"""A sweep on a cluster: submitted to Slurm as an array with one task per run, and recorded in `slurm.json`."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from pydantic import TypeAdapter

from bncore.config.errors import Problem, SpecError
from bncore.config.toml import resolved_spec_from_toml
from bncore.launch.slurm import client as slurm
from bncore.launch.slurm.options import SlurmOptions
from bncore.store.files import read_as, replace_file
from bncore.store.paths import RunDir, SweepDir
from bncore.store.status import set_unowned_state

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
        sweep: directory of the sweep.
        runs: names of the run directories; task i executes ``runs[i]``.
        jobs: maximum number of concurrent tasks.
        threads: processors per task.

    Raises:
        SpecError: the script cannot express the directory's name; see `check_place`.
    """
    folder = sweep.absolute()
    check_place(folder)
    return _TEMPLATE.format(
        directives="\n".join(f"#SBATCH {option}" for option in _directives(folder, runs, options, jobs, threads)),
        sweep=shlex.quote(str(folder)),
        runs="\n".join(f"  {shlex.quote(name)}" for name in runs),
        setup=options.setup.strip("\n") or ":",
        python=shlex.quote(sys.executable),
    )  # fmt: skip


def check_place(folder: Path) -> None:
    """Refuse a directory whose path cannot appear in a script line or in Slurm's file name patterns.

    Raises:
        SpecError: the path contains control characters or a backslash.
    """
    if not str(folder.absolute()).isprintable() or "\\" in str(folder.absolute()):
        accepted = "for Slurm, a path without control characters and backslashes"
        raise SpecError([Problem("--out", "", str(folder), accepted)])


def _directives(
    folder: Path, runs: Sequence[str], options: SlurmOptions, jobs: int, threads: int
) -> Iterator[str]:
    yield _directive("job-name", folder.name)
    yield _directive("array", f"0-{len(runs) - 1}%{min(jobs, len(runs))}")
    yield "--requeue"
    yield _directive("signal", f"B:USR2@{options.notice}")  # "B:" signals only the batch shell
    yield "--open-mode=append"
    yield _directive("output", f"{folder}/slurm-".replace("%", "%%") + "%A_%a.log")
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


@dataclass(frozen=True, slots=True)
class Job:
    """One array that was submitted for a sweep."""

    id: str
    jobs: int
    """Maximum number of concurrent tasks."""
    t: float
    """Time of submission, in seconds since 1970."""
    tasks: dict[str, str]
    """Name of the run directory of each task, by index in the array."""


@dataclass(frozen=True, slots=True)
class Record:
    """Contents of `slurm.json`: the options and jobs of a sweep."""

    options: SlurmOptions
    jobs: tuple[Job, ...] = ()
    """Oldest first."""

    def task_of(self, run: RunDir) -> str | None:
        """``<array job>_<index>`` of the newest task of a run; None if there is none."""
        for job in reversed(self.jobs):
            for index, name in job.tasks.items():
                if name == run.path.name:
                    return f"{job.id}_{index}"
        return None


_RECORD = TypeAdapter(Record)


def record_file(sweep: SweepDir) -> Path:
    """Path of a sweep's record."""
    return sweep.path / "slurm.json"


def script_file(sweep: SweepDir) -> Path:
    """Path of the most recently submitted script."""
    return sweep.path / "slurm.sh"


def read_record(sweep: SweepDir) -> Record | None:
    """A sweep's record; None if it was never submitted to Slurm, or if the file is invalid."""
    return read_as(_RECORD, record_file(sweep))


def submit(sweep: SweepDir, runs: Sequence[RunDir], options: SlurmOptions, *, jobs: int) -> str:
    """Submit runs of a sweep to Slurm; returns the id of the array job.

    The job is submitted on hold and released once it is recorded, so that no unrecorded task ever runs.

    Raises:
        SlurmError: Slurm refuses.
        SpecError: the script cannot express the directory's name, or a run has no valid spec.
        StoreError: the file system refuses.
    """
    names = tuple(run.path.name for run in runs)
    text = script(sweep.path, names, options, jobs=jobs, threads=_threads(runs))
    replace_file(script_file(sweep), text.encode())
    job = slurm.sbatch(script_file(sweep), hold=True)
    try:
        before = read_record(sweep)
        tasks = {str(index): name for index, name in enumerate(names)}
        submitted = Job(job, min(jobs, len(runs)), time.time(), tasks)
        record = Record(options, (*(before.jobs if before else ()), submitted))
        replace_file(record_file(sweep), orjson.dumps(asdict(record), option=orjson.OPT_INDENT_2))
        for index, run in enumerate(runs):
            set_unowned_state(run, "queued", f"task {index} of Slurm's job {job}")
        slurm.release(job)
    except BaseException:  # including Ctrl-C: the job would be left unrecorded
        with suppress(slurm.SlurmError):
            slurm.scancel([job])
        raise
    return job


def _threads(runs: Sequence[RunDir]) -> int:
    """Processors per task: the maximum that any run needs."""
    return max(int(resolved_spec_from_toml(run.spec_file).threads) for run in runs)
