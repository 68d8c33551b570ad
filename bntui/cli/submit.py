"""`preset` and `run`: run an experiment as a sweep."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from bncore.config.errors import escape_control
from bncore.config.load import load_experiment
from bncore.config.plan import Plan, plan
from bncore.config.toml import spec_to_toml
from bncore.follow.estimate import duration, time_taken_before
from bncore.follow.run_view import RunView, view_runs
from bncore.launch.devices import default_jobs
from bncore.launch.local import exit_in_words
from bncore.launch.slurm.options import SlurmOptions
from bncore.launch.supervisor import Supervisor, detach
from bncore.store.errors import StoreError
from bncore.store.log import last_line, log_to_stderr
from bncore.store.paths import RunDir, SweepDir
from bncore.store.sweep import create_sweep
from bntui.cli.exit_codes import ExitCode
from bntui.cli.options import Json, NewRoot, complete_preset, counted, default_root, refuse, say
from bntui.cli.progress import Progress
from bntui.cli.resolve import check_devices, choose_profile, describe_data, parse_seeds, resolve_plan
from bntui.cli.slurm import (
    AUTO_THREADS,
    SlurmFlags,
    check_cluster,
    check_launcher,
    print_script,
    say_missing_gpus,
    submit_new,
    with_slurm,
)
from bntui.cli.tables import figure, percent, print_table
from bntui.live.snapshot import names_of_data
from bntui.main import refusal

Out = Annotated[Path | None, typer.Option("--out", help="Sweep directory, new or empty.")]
Steps = Annotated[int | None, typer.Option("--steps", help="Number of steps.")]
Seeds = Annotated[str | None, typer.Option("--seeds", help="Seeds, such as 0,1,2 or 0-9.")]
Seed = Annotated[int | None, typer.Option("--seed", help="One seed.")]
Variants = Annotated[
    str | None,
    typer.Option(
        "--variants", help="Only these variants, such as none,batch or 'batch*'.", show_default="all"
    ),
]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:<index>.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", help="path=value, such as optim.lr=0.05; repeatable.")
]
Profile = Annotated[
    str, typer.Option("--profile", help="auto, paper (the paper's settings) or cpu (reduced).")
]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder with cifar-10-batches-py, or train/<class>/ and test/<class>/."),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        min=1,
        help="Concurrent runs (see `bnrun bench jobs`).  [default: one per GPU, or by CPU count; with Slurm all]",
    ),
]
Launcher = Annotated[str, typer.Option("--launcher", help="local or slurm.")]
Headless = Annotated[
    bool,
    typer.Option("--headless", help="Start no explorer; stay in the foreground unless --detach is given."),
]
Detach = Annotated[bool, typer.Option("--detach", help="Run the sweep in the background.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the resolved runs and write nothing.")]


@with_slurm
def submit(
    experiment: Annotated[
        str,
        typer.Argument(
            metavar="EXPERIMENT",
            help="A preset (`bnrun presets`), or a TOML file (`bnrun schema`).",
            autocompletion=complete_preset,
        ),
    ],
    headless: Headless = False,
    out: Out = None,
    steps: Steps = None,
    seeds: Seeds = None,
    seed: Seed = None,
    variants: Variants = None,
    device: Device = None,
    sets: Sets = None,
    profile: Profile = "auto",
    data_dir: DataDir = None,
    jobs: Jobs = None,
    launcher: Launcher = "local",
    detach: Detach = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    root: NewRoot = None,
    *,
    slurm: SlurmFlags,
) -> None:
    """`bnrun preset` and `bnrun run`: one function under two names."""
    check_launcher(launcher, slurm)
    root = root or default_root()
    _check_writable(out, "--out")
    _check_writable(root, "--root")
    options = slurm.options() if launcher == "slurm" else None
    planned = planned_runs(
        experiment,
        profile=profile,
        sets=sets,
        seeds=_seeds(seeds, seed),
        variants=("*",) if variants is None else tuple(name.strip() for name in variants.split(",")),
        steps=steps,
        device=device,
        data_dir=data_dir,
        gpus=None if options is None else bool(options.gpus),
    )
    _print_profile(planned, auto=profile == "auto")
    _print_expected_time(planned, root)
    if options is not None:
        _submit_to_slurm(planned, options, root=root, out=out, jobs=jobs, dry_run=dry_run, as_json=as_json)
    elif dry_run:
        check_devices(planned)
        _print_plan(planned, as_json=as_json)
    else:
        resolved = resolve_plan(planned)
        jobs = jobs or default_jobs([run.spec for run in resolved.runs])
        sweep = create_sweep(resolved, root=root, out=out)
        say(f"{counted(len(resolved.runs), 'run')}, {jobs} at once, in {sweep.path}")
        if detach:
            leave_detached(sweep, sweep.runs(), jobs=jobs, as_json=as_json)
        elif headless or refusal(os.environ, sys.stdin, sys.stdout, sys.stderr):
            raise typer.Exit(run_to_end(sweep, sweep.runs(), jobs=jobs, as_json=as_json))
        else:
            start_detached(sweep, sweep.runs(), jobs=jobs)
            sys.stderr.flush()
            os.execv(sys.executable, [sys.executable, "-m", "bntui.main", str(sweep.path)])


def _check_writable(path: Path | None, option: str) -> None:
    """Refuse a path that a spec cannot contain.

    Raises:
        BadParameter: the path is not UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        refuse(option, f"{str(path)!a}; expected a path in UTF-8")


def planned_runs(
    experiment: str,
    *,
    profile: str,
    sets: list[str] | None,
    device: str | None,
    data_dir: Path | None,
    gpus: bool | None = None,
    **choices: Any,
) -> Plan:
    """The runs defined by an experiment and the command's options.

    Arguments:
        experiment: name of a preset, or a file.
        gpus: whether there are GPUs where the runs will execute; default: as on this host.
        choices: further arguments of `plan`.

    Raises:
        SpecError: there is no such experiment, or the options do not fit it.
    """
    loaded = load_experiment(Path(experiment) if Path(experiment).is_file() else experiment)
    chosen = choose_profile(profile, device, gpus=gpus)
    path = None if data_dir is None else str(data_dir)
    return plan(loaded, profile=chosen, sets=sets or (), device=device, data_path=path, **choices)


def _submit_to_slurm(
    planned: Plan,
    options: SlurmOptions,
    *,
    root: Path,
    out: Path | None,
    jobs: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Create the sweep's directory and submit it, or print the script."""
    check_cluster(out or root, dry_run=dry_run)
    if dry_run:
        print_script(planned, options, root=root, out=out, jobs=jobs, as_json=as_json)
        return
    resolved = resolve_plan(planned, gpus=bool(options.gpus), threads=AUTO_THREADS)
    say_missing_gpus([run.spec for run in resolved.runs], options)
    submit_new(create_sweep(resolved, root=root, out=out), options, jobs=jobs, as_json=as_json)


def leave_detached(
    sweep: SweepDir, runs: list[RunDir], *, jobs: int, as_json: bool, force: bool = False
) -> None:
    """As `start_detached`, and print the sweep's directory."""
    pid = start_detached(sweep, runs, jobs=jobs, force=force)
    if as_json:
        typer.echo(json.dumps({"sweep": str(sweep.path), "supervisor": pid}))
    else:
        typer.echo(escape_control(str(sweep.path)))


def start_detached(sweep: SweepDir, runs: list[RunDir], *, jobs: int, force: bool = False) -> int:
    """Start a background supervisor for these runs of a sweep; return its pid."""
    pid = detach(sweep, runs, jobs=jobs, force=force)
    say(f"detached: process {pid} supervises it; follow with `bnrun watch {sweep.name}`")
    return pid


def run_to_end(
    sweep: SweepDir, runs: list[RunDir], *, jobs: int, as_json: bool = False, force: bool = False
) -> int:
    """Run these runs of a sweep in the foreground with progress and a summary; return the exit code."""
    log_to_stderr("%(message)s")
    supervisor = Supervisor(sweep, runs, jobs=jobs, force=force)
    with Progress(runs) as progress:
        supervisor.run(progress.tick)
    local = supervisor.local
    for name, code in local.exit_codes.items():
        if code in (ExitCode.FAILED, ExitCode.USAGE) or code < 0:
            reason = exit_in_words(code) if code < 0 else last_line(RunDir(sweep.path / name)) or "refused"
            why = local.unstarted.get(name) or reason
            say(f"{sweep.name}/{name}: {why}")
    print_summary(sweep, as_json=as_json)
    return _exit_code(local.exit_codes, local.signal)


def _exit_code(codes: dict[str, int], signal: int | None) -> int:
    if signal is not None:
        return 128 + signal
    failed = sum(code != 0 for code in codes.values())
    if failed == 0:
        return ExitCode.OK
    return ExitCode.FAILED if failed == len(codes) else ExitCode.SOME_FAILED


def _seeds(seeds: str | None, seed: int | None) -> tuple[int, ...] | None:
    if seeds is not None and seed is not None:
        refuse("--seeds", "given together with --seed; expected one of them")
    if seed is not None:
        return (seed,)
    return None if seeds is None else parse_seeds(seeds)


def _print_profile(planned: Plan, *, auto: bool) -> None:
    why = f" (chosen because there is {'a' if planned.profile == 'paper' else 'no'} GPU)" if auto else ""
    say(f"{planned.experiment.name}: profile {planned.profile}{why}")
    for note in planned.notes:
        say(f"note: {note}")


def _print_expected_time(planned: Plan, root: Path) -> None:
    with suppress(StoreError):  # an unreadable root is reported when the sweep is created
        before = time_taken_before(root, planned)
        if before is not None:
            say(f"expected time: {duration(before)}, which the same runs took before")


def _print_plan(planned: Plan, *, as_json: bool) -> None:
    data = describe_data(planned)
    if as_json:
        runs = [{"name": run.name, "spec": run.spec.model_dump(mode="json")} for run in planned.runs]
        typer.echo(json.dumps({"profile": planned.profile, "data": data, "runs": runs}, indent=2))
        return
    typer.echo(f"# data: {data}")
    for run in planned.runs:
        typer.echo(f"\n# ---- {run.name}\n{spec_to_toml(run.spec)}")
    names = ", ".join(run.name for run in planned.runs[:12]) + (", ..." if len(planned.runs) > 12 else "")
    say(f"{counted(len(planned.runs), 'run')}: {names}; nothing was written")


def print_summary(sweep: SweepDir, *, as_json: bool) -> None:
    """Print one row per run: state, steps, losses, accuracies, time."""
    seen = view_runs(sweep.runs())
    if as_json:
        content = {"sweep": str(sweep.path), "runs": [overview.as_json() for overview in seen]}
        typer.echo(json.dumps(content, indent=2))
        return
    typer.echo(f"{escape_control(sweep.name)} on {', '.join(names_of_data(seen)) or 'no data yet'}")
    print_table(
        ("run", "state", "step", "loss", "test loss", "test accuracy", "time"),
        [
            (
                view.run.path.name,
                view.state,
                f"{view.step:,}",
                figure(view.newest("step", "loss")),
                figure(view.newest("eval", "test_loss")),
                percent(view.newest("eval", "test_accuracy")),
                duration(time_taken(view)),
            )
            for view in seen
        ],
    )
    for view in seen:
        for text in (view.message if view.state == "failed" else "", view.warning):
            if text:
                typer.echo(f"{escape_control(view.run.path.name)}: {text}")
    name = escape_control(sweep.name)
    if any(view.state == "stopped" for view in seen):
        typer.echo(f"`bnrun resume {name}` continues what was stopped.")
    typer.echo(f"`bnrun show {name}` plots them.")


def time_taken(overview: RunView) -> float | None:
    """Seconds from the first event to the last; None if the run has not ended."""
    start, end = overview.times()
    return None if start is None or end is None else end - start
