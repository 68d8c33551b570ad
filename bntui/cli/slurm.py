"""`--launcher slurm`: its options, and submission of a sweep's runs to Slurm."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from bncore.config.errors import escape_control
from bncore.config.model import Spec
from bncore.config.plan import Plan
from bncore.follow.run_view import RunView
from bncore.launch.slurm.array import check_place, read_record, script, submit
from bncore.launch.slurm.client import require, scancel
from bncore.launch.slurm.options import NAMES, SlurmOptions, slurm_options
from bncore.store.paths import RunDir, SweepDir
from bncore.store.status import set_unowned_state
from bncore.store.sweep import next_name
from bntui.cli.options import counted, refuse, say, with_options

AUTO_THREADS = 4
"""Default number of threads of a run: this host's processors say nothing about the nodes."""


def _option(name: str, words: str) -> Any:
    return typer.Option(f"--slurm-{name}", help=words, rich_help_panel="Slurm")


@dataclass(frozen=True)
class SlurmFlags:
    """Slurm options as given on the command line."""

    config: Annotated[Path | None, _option("config", f"TOML file with any of {', '.join(NAMES)}.")] = None
    setup: Annotated[Path | None, _option("setup", "File with shell lines to run before the worker.")] = None
    partition: Annotated[str | None, _option("partition", "Partition.")] = None
    account: Annotated[str | None, _option("account", "Account.")] = None
    qos: Annotated[str | None, _option("qos", "Quality of service.")] = None
    time: Annotated[
        str | None,
        _option("time", "Time limit per task, such as 4:00:00, or minutes, after which it is requeued."),
    ] = None
    gpus: Annotated[str | None, _option("gpus", "GPUs per run, such as 1 or a100:1.")] = None
    memory: Annotated[str | None, _option("memory", "Memory per run, such as 16G.")] = None
    constraint: Annotated[str | None, _option("constraint", "Node features, such as a100.")] = None
    notice: Annotated[
        int | None,
        _option("notice", "Seconds before the time limit to checkpoint and requeue.  [default: 120]"),
    ] = None

    def given(self) -> list[str]:
        """Names of the options that were given."""
        return [f"--slurm-{name}" for name, value in asdict(self).items() if value is not None]

    def options(self, base: SlurmOptions | None = None) -> SlurmOptions:
        """The checked options; see `bncore.launch.slurm.options.slurm_options`."""
        flags = asdict(self)
        return slurm_options(flags, config=flags.pop("config"), setup=flags.pop("setup"), base=base)


with_slurm = with_options("slurm", SlurmFlags)


def check_launcher(launcher: str | None, slurm: SlurmFlags) -> None:
    """Refuse an unknown launcher, and Slurm options with the local one.

    Raises:
        typer.BadParameter: names the option, its value and what is accepted.
    """
    if launcher not in (None, "local", "slurm"):
        refuse("--launcher", f"{launcher!r}; expected local or slurm")
    if launcher == "local" and slurm.given():
        refuse(f"{slurm.given()[0]}: --launcher", "'local'; expected slurm, to go with it")


def check_cluster(folder: Path, *, dry_run: bool = False) -> None:
    """Refuse what Slurm cannot handle, before anything is written.

    Raises:
        SlurmError: Slurm's commands are not available.
        SpecError: the job script cannot contain the path.
    """
    check_place(folder)
    if not dry_run:
        require("sbatch", "squeue", "scancel", "scontrol")


def print_script(
    planned: Plan, options: SlurmOptions, *, root: Path, out: Path | None, jobs: int | None, as_json: bool
) -> None:
    """Print the array script as it would be submitted; with `as_json`, as the value of `script`."""
    name = planned.experiment.name
    folder = out or root / (next_name(root, name) if root.is_dir() else f"{name}-001")
    names = [run.name for run in planned.runs]
    threads = max(AUTO_THREADS if (t := run.spec.threads) == "auto" else t for run in planned.runs)
    text = script(folder, names, options, jobs=jobs or len(names), threads=threads)
    typer.echo(json.dumps({"script": text, "runs": names}, indent=2) if as_json else text, nl=as_json)


def submit_new(sweep: SweepDir, options: SlurmOptions, *, jobs: int | None, as_json: bool) -> None:
    """Submit a new sweep to Slurm; if that fails, its directory is removed.

    Raises:
        SlurmError: Slurm refuses.
    """
    try:
        submit_runs(sweep, sweep.runs(), options, jobs=jobs, as_json=as_json)
    except Exception:
        shutil.rmtree(sweep.path, ignore_errors=True)
        raise


def submit_runs(
    sweep: SweepDir, runs: Sequence[RunDir], options: SlurmOptions, *, jobs: int | None, as_json: bool
) -> None:
    """Submit runs of a sweep to Slurm and print the sweep's directory.

    Raises:
        SlurmError: Slurm refuses.
    """
    job = submit(sweep, runs, options, jobs=jobs or len(runs))
    tasks = counted(len(runs), "task")
    say(f"submitted: Slurm job {job}, {tasks}; follow with `bnrun watch {sweep.name}`")
    if as_json:
        typer.echo(json.dumps({"sweep": str(sweep.path), "job": job}))
    else:
        typer.echo(escape_control(str(sweep.path)))


def waiting_tasks(seen: Sequence[RunView]) -> dict[RunDir, str]:
    """Slurm tasks of the runs that are waiting in its queue."""
    tasks = {}
    for overview in seen:
        record = read_record(overview.run.sweep) if overview.state == "queued" else None
        task = record.task_of(overview.run) if record is not None else None
        if task is not None:
            tasks[overview.run] = task
    return tasks


def cancel(tasks: Mapping[RunDir, str]) -> None:
    """Cancel runs in Slurm's queue; a run that has started in the meantime checkpoints and ends.

    Raises:
        SlurmError: Slurm refuses.
    """
    scancel(list(tasks.values()))
    for run, task in tasks.items():
        set_unowned_state(
            run, "stopped", f"Slurm task {task} was cancelled before it started; `bnrun resume` restarts it"
        )
        say(f"{run.name}: task {task} cancelled")


def say_missing_gpus(specs: Sequence[Spec], options: SlurmOptions) -> None:
    """Warn if runs need a GPU but none is requested, since only some clusters assign GPUs by partition."""
    if not options.gpus and any(spec.device.startswith("cuda") for spec in specs):
        say("note: the runs need cuda, but --slurm-gpus was not given")
