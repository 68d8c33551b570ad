"""`resume`: resumes paused runs and restarts others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from bncore.config.observed import refuse_observed
from bncore.follow.run_view import view_runs
from bncore.launch.devices import cpu_count
from bncore.launch.local import PATIENCE_S, await_orphans
from bncore.launch.slurm.array import read_record
from bncore.launch.slurm.options import SlurmOptions
from bncore.store.commands import DropRequest, Resume
from bncore.store.dropped_requests import why_not
from bncore.store.journal import read_events
from bncore.store.lineage import read_lineage
from bncore.store.owner import read_owner
from bncore.store.paths import RunDir, SweepDir
from bncore.store.reader import speaks_of
from bncore.store.requests import halting, send_request
from bncore.store.status import LIVE, Observer, find_stalled
from bntui.cli.exit_codes import ExitCode
from bntui.cli.options import Json, Names, Root, counted, fail, refuse, say
from bntui.cli.select_runs import Where, in_words, runs_named
from bntui.cli.slurm import (
    SlurmFlags,
    check_cluster,
    check_launcher,
    submit_runs,
    waiting_tasks,
    with_slurm,
)
from bntui.cli.submit import Detach, Jobs, leave_detached, run_to_end

Force = Annotated[bool, typer.Option("--force", help="Take over a run even if a process seems to own it.")]
Dropped = Annotated[
    str | None,
    typer.Option(
        "--drop-request", metavar="ID", help="Continue without this request, which stopped the run."
    ),
]


@with_slurm
def resume(
    names: Names = None,
    jobs: Jobs = None,
    force: Force = False,
    detached: Detach = False,
    launcher: Annotated[
        str | None, typer.Option("--launcher", help="local or slurm.  [default: as submitted]")
    ] = None,
    as_json: Json = False,
    where: Where = None,
    root: Root = None,
    drop_request: Dropped = None,
    *,
    slurm: SlurmFlags,
) -> None:
    """Resume paused runs; restart stopped or dead ones.

    Of a sweep, everything unfinished is restarted where it stopped, one sweep at a time. In the foreground,
    exit 0 only if all restarted runs have ended."""
    check_launcher(launcher, slurm)
    runs = runs_named(names, root, where, announce=True)
    options = {sweep: _slurm_options(sweep, launcher, slurm, force=force) for sweep in _by_sweep(runs)}
    if not force:
        _await_orphans(runs)
    # Read before the states, which show what has been answered since.
    may_pause = {run for run in runs if _may_pause(run)}
    seen = view_runs(runs)
    live = _without_silent([o.run for o in seen if o.state in LIVE and not force])
    running = [o.run for o in seen if o.state == "running" and o.run in live and o.run not in may_pause]
    tasks = waiting_tasks(seen)
    supervised = Observer().supervised
    waiting = [o.run for o in seen if o.state == "queued" and (o.run in tasks or supervised(o.run.sweep))]
    busy = [*live, *waiting]
    dead = [o.run for o in seen if o.state not in ("finished", "diverged") and o.run not in busy]
    if not busy and not dead:
        fail(f"{in_words(names, where)}: nothing to resume: every run has ended", ExitCode.USAGE)
    for run in dead:
        refuse_observed(run.spec_file)
    missing = _by_sweep(dead)
    for sweep in missing:
        if options[sweep] is not None:
            check_cluster(sweep.path)
    if running:
        say(f"{counted(len(running), 'run')} already running")
    for run in live:
        if run not in running:
            send_request(run, Resume())
            say(f"{run.name}: request sent: resume")
    for run in waiting:
        say(f"{run.name}: queued; it will start automatically")
    if drop_request is not None:
        _request_drop(dead, drop_request)
    codes = set()
    for sweep, left in missing.items():
        code = _go_on(sweep, left, options[sweep], jobs=jobs, as_json=as_json, force=force, detached=detached)
        codes.add(code)
        if code > 128:  # a signal ends the whole command
            raise typer.Exit(code)
    raise typer.Exit(codes.pop() if len(codes) == 1 else ExitCode.SOME_FAILED if codes else ExitCode.OK)


def _may_pause(run: RunDir) -> bool:
    """Whether a request that waits, or one for a number of steps, may pause a run that is running."""
    return bool(halting(run)) or speaks_of(run.journal_file, b'"kind":"step"')


def _by_sweep(runs: Sequence[RunDir]) -> dict[SweepDir, list[RunDir]]:
    by_sweep: dict[SweepDir, list[RunDir]] = {}
    for run in runs:
        by_sweep.setdefault(run.sweep, []).append(run)
    return by_sweep


def _go_on(
    sweep: SweepDir,
    runs: list[RunDir],
    options: SlurmOptions | None,
    *,
    jobs: int | None,
    as_json: bool,
    force: bool,
    detached: bool,
) -> int:
    """Restart runs of a sweep, with Slurm if there are options for it; return the exit code."""
    if options is not None:
        submit_runs(sweep, runs, options, jobs=jobs, as_json=as_json)
        return ExitCode.OK
    at_once = jobs or max(1, min(len(runs), cpu_count()))
    if detached:
        leave_detached(sweep, runs, jobs=at_once, as_json=as_json, force=force)
        return ExitCode.OK
    return run_to_end(sweep, runs, jobs=at_once, as_json=as_json, force=force) or _not_ended(runs)


def _await_orphans(runs: list[RunDir]) -> None:
    """Wait for workers whose supervisor died to end; exit 3 if one does not."""

    def on_wait(left: list[RunDir]) -> None:
        say(f"waiting for {counted(len(left), 'worker')} of a dead supervisor to end")

    left = await_orphans(runs, on_wait)
    for run in left:
        say(f"bnrun: {run.name}: its worker did not end within {PATIENCE_S:.0f} s")
    if left:
        raise typer.Exit(ExitCode.NO_RUN)


def _not_ended(runs: list[RunDir]) -> int:
    """Exit code for runs of which none failed: 0 if all have ended. Reports those that have not."""
    left = 0
    for overview in view_runs(runs):
        step = overview.status.step if overview.status else 0
        lineage = read_lineage(overview.run)
        repeated = lineage is not None and lineage.until == step  # a replay that got as far as its original
        if overview.state not in ("finished", "diverged") and not repeated:
            left += 1
            say(f"{overview.run.name}: {overview.state} at step {step:,}, not ended")
    return ExitCode.OK if not left else ExitCode.FAILED if left == len(runs) else ExitCode.SOME_FAILED


def _slurm_options(
    sweep: SweepDir, launcher: str | None, slurm: SlurmFlags, *, force: bool
) -> SlurmOptions | None:
    """Slurm options for resuming a sweep: those of its submission, updated by those given now; None: resume here.

    Raises:
        SpecError: an option is not accepted.
    """
    record = read_record(sweep)
    before = record.options if record is not None else None
    if launcher == "local" or (launcher is None and before is None and not slurm.given()):
        return None
    if force:
        refuse("--force", "not available with Slurm")
    return slurm.options(before)


def _without_silent(live: list[RunDir]) -> list[RunDir]:
    """Runs that are alive as far as this host can tell; an owner on another host is given two minutes."""
    elsewhere = [run for run in live if (holder := read_owner(run)) is None or not holder.is_local()]
    if elsewhere:
        say(f"checking the heartbeats of {counted(len(elsewhere), 'run')} owned by other hosts")
    silent = find_stalled(elsewhere)
    return [run for run in live if run not in silent]


def _request_drop(runs: Sequence[RunDir], ident: str) -> None:
    """Send the drop request to the single run to be resumed, which answers it before it trains.

    Raises:
        BadParameter: several runs, an unknown request, or one that the run has already trained with.
    """
    if len(runs) != 1:
        refuse("--drop-request", f"{len(runs)} runs to restart; expected the one that the request stopped")
    (run,) = runs
    events = read_events(run.journal_file)
    ids = {str(e.get("id")) for e in events if e["type"] == "request" and str(e.get("id")).startswith(ident)}
    if len(ids) > 1:
        refuse("--drop-request", f"{ident}: {len(ids)} requests begin like this; expected more of the id")
    full = ids.pop() if ids else ident
    if reason := why_not(events, full):
        refuse("--drop-request", f"{run.name}: {reason}")
    send_request(run, DropRequest(request=full))
    say(f"{run.name}: resumes without request {full}")
