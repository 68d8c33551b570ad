"""`set`, `note`, `checkpoint`, `evaluate`, `pause`, `step`, `stop`, `resume`: requests to live runs, and going on
with dead ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bntui.cli.exit_codes import ExitCode
from bntui.cli.inspect import runs_named, runs_of
from bntui.cli.options import Json, Names, Root, Run, counted, default_root, escape_control
from bntui.cli.slurm import (
    SlurmFlags,
    cancel,
    check_cluster,
    check_launcher,
    recorded,
    submit_runs,
    waiting_tasks,
    with_slurm,
)
from bntui.cli.submit import Detach, Jobs, finish, run_to_end

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bncore.follow.run_view import RunView
    from bncore.launch.slurm.options import SlurmOptions
    from bncore.store.paths import RunDir, SweepDir
    from bncore.store.requests import Command

MOST = 2**63 - 1
Force = Annotated[bool, typer.Option("--force", help="Take a run even from a process that seems to hold it.")]
AtStep = Annotated[
    int | None, typer.Option("--at-step", min=0, max=MOST, help="Apply at this step, not at the next.")
]
DropRequest = Annotated[
    str | None,
    typer.Option("--drop-request", metavar="ID", help="Go on without this request, which stopped the run."),
]
Wait = Annotated[
    bool, typer.Option("--wait", help="Return once it is answered, with the step; exit 3 if not.")
]
Timeout = Annotated[float, typer.Option("--timeout", min=0, help="Seconds to wait for an answer.")]
Changes = Annotated[
    list[str],
    typer.Argument(metavar="path=value...", help="noise=on norm=l1 lr=0.05 probes.ics.every=50 ..."),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("set")(set_)
    for command in (pause, step, stop, resume, checkpoint, evaluate, note):
        app.command(command.__name__)(command)


def set_(
    name: Run,
    changes: Changes,
    at_step: AtStep = None,
    wait: Wait = False,
    timeout: Timeout = 60.0,
    root: Root = None,
) -> None:
    """Change norm, noise, learning rate or cadences of a live run, or of every run of a sweep, queued ones too."""
    from bncore.config.change import parse_changes
    from bncore.store.requests import Set

    command = Set(changes=parse_changes(changes), at_step=at_step)
    _ask([name], root, command, wait=timeout if wait else None, queued=True)


def pause(names: Names, at_step: AtStep = None, wait: Wait = False, root: Root = None) -> None:
    """Ask live runs, or every run of sweeps, to wait at their next step."""
    from bncore.store.requests import Pause

    _ask(names, root, Pause(at_step=at_step), wait=60.0 if wait else None)


def step(
    names: Names,
    count: Annotated[int, typer.Option("--count", min=1, max=MOST, help="How many updates.")] = 1,
    wait: Wait = False,
    root: Root = None,
) -> None:
    """Ask live runs for so many updates, and to pause after them."""
    from bncore.store.requests import Step

    _ask(names, root, Step(count=count), wait=60.0 if wait else None)


def checkpoint(names: Names, at_step: AtStep = None, wait: Wait = False, root: Root = None) -> None:
    """Ask live runs, or every run of sweeps, for a checkpoint that is kept."""
    from bncore.store.requests import Checkpoint

    _ask(names, root, Checkpoint(at_step=at_step), wait=60.0 if wait else None)


def evaluate(names: Names, at_step: AtStep = None, wait: Wait = False, root: Root = None) -> None:
    """Ask live runs, or every run of sweeps, to evaluate, whatever their cadence."""
    from bncore.store.requests import Evaluate

    _ask(names, root, Evaluate(at_step=at_step), wait=60.0 if wait else None)


def note(
    name: Run,
    text: Annotated[str, typer.Argument(help="The remark.")],
    at_step: AtStep = None,
    wait: Wait = False,
    root: Root = None,
) -> None:
    """Put a remark into the journal of a live run, or of every run of a sweep."""
    from bncore.store.requests import Note

    try:
        text.encode()
    except UnicodeEncodeError:
        raise typer.BadParameter(f"{text!a}; expected text in UTF-8", param_hint="text") from None
    if len(text) > 4096:
        raise typer.BadParameter(f"{len(text)} characters; expected at most 4096", param_hint="text")
    _ask([name], root, Note(text=text, at_step=at_step), wait=60.0 if wait else None, queued=True)


def stop(names: Names, at_step: AtStep = None, wait: Wait = False, root: Root = None) -> None:
    """Ask live runs, or sweeps, to checkpoint and end; a queued run is dropped. `bnrun resume` goes on."""
    from bncore.store.find import find_all
    from bncore.store.requests import Stop

    found = find_all(root or default_root(), names)
    runs = {one: runs_of(one) for one in found}
    left = [run for one in found if not _left_out(one, runs[one], at_step) for run in runs[one]]
    if left:
        _ask_runs(", ".join(names), left, Stop(at_step=at_step), wait=60.0 if wait else None)


def _left_out(found: RunDir | SweepDir, runs: list[RunDir], at_step: int | None) -> bool:
    """Take what waits for its turn out of its queue; whether nothing is left that lives."""
    from bncore.follow.run_view import look_at
    from bncore.store.paths import RunDir
    from bncore.store.requests import CancelQueued, StopSweep, send_request
    from bncore.store.status import Observer

    seen = look_at(runs)
    queued = [o.run for o in seen if o.state == "queued"]
    sweep = found.sweep if isinstance(found, RunDir) else found
    tasks = waiting_tasks(seen)
    if tasks and at_step is None:
        cancel(tasks)
    elif queued and Observer().supervised(sweep) and isinstance(found, RunDir):
        send_request(sweep, CancelQueued(run=found.path.name))
        typer.echo(f"{found.name}: to be dropped from the queue", err=True)
    elif queued and Observer().supervised(sweep) and at_step is None:
        send_request(sweep, StopSweep())
        typer.echo(f"{sweep.name}: asked to start nothing more", err=True)
    else:
        return False
    return not any(o.state in ("running", "paused") for o in seen)


@with_slurm
def resume(
    names: Names,
    jobs: Jobs = None,
    force: Force = False,
    detached: Detach = False,
    launcher: Annotated[
        str | None, typer.Option("--launcher", help="local or slurm.  [default: as it was submitted]")
    ] = None,
    as_json: Json = False,
    root: Root = None,
    drop_request: DropRequest = None,
    slurm: SlurmFlags = SlurmFlags(),  # noqa: B008 - frozen
) -> None:
    """Unpause live runs; restart dead or stopped ones, or what is missing of sweeps, where they were, sweep after
    sweep. In the foreground, exit 0 only if all that was restarted has ended."""
    from bncore.config.observed import refuse_observed
    from bncore.follow.run_view import look_at
    from bncore.store.requests import Resume, send_request
    from bncore.store.status import Observer

    check_launcher(launcher, slurm)
    runs = runs_named(names, root)
    options = {sweep: _slurm_options(sweep, launcher, slurm, force=force) for sweep in _by_sweep(runs)}
    if not force:
        _await_orphans(runs)
    seen = look_at(runs)
    live = [o.run for o in seen if o.state in ("running", "paused") and not force]
    live = _without_silent(live)
    tasks = waiting_tasks(seen)
    supervised = Observer().supervised
    waiting = [o.run for o in seen if o.state == "queued" and (o.run in tasks or supervised(o.run.sweep))]
    busy = [*live, *waiting]
    dead = [o.run for o in seen if o.state not in ("finished", "diverged") and o.run not in busy]
    if not busy and not dead:
        typer.echo(
            f"bnrun: {escape_control(', '.join(names))}: nothing to resume: every run has ended", err=True
        )
        raise typer.Exit(ExitCode.USAGE)
    for run in dead:
        refuse_observed(run.spec_file)
    missing = _by_sweep(dead)
    for sweep in missing:
        if options[sweep] is not None:
            check_cluster(sweep.path)
    for run in live:
        send_request(run, Resume())
        typer.echo(f"{run.name}: asked to go on", err=True)
    for run in waiting:
        typer.echo(f"{run.name}: queued; it will begin by itself", err=True)
    if drop_request is not None:
        _request_drop(dead, drop_request)
    codes = set()
    for sweep, left in missing.items():
        code = _go_on(sweep, left, options[sweep], jobs=jobs, as_json=as_json, force=force, detached=detached)
        codes.add(code)
        if code > 128:  # a signal to all of it
            raise typer.Exit(code)
    raise typer.Exit(codes.pop() if len(codes) == 1 else ExitCode.SOME_FAILED if codes else ExitCode.OK)


def _by_sweep(runs: Sequence[RunDir]) -> dict[SweepDir, list[RunDir]]:
    found: dict[SweepDir, list[RunDir]] = {}
    for run in runs:
        found.setdefault(run.sweep, []).append(run)
    return found


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
    """Restart runs of a sweep, by Slurm where there are options of it; the exit code."""
    from bncore.launch.devices import cpu_count

    if options is not None:
        submit_runs(sweep, runs, options, jobs=jobs, as_json=as_json)
        return ExitCode.OK
    at_once = jobs or max(1, min(len(runs), cpu_count()))
    if detached:
        finish(sweep, runs, jobs=at_once, as_json=as_json, force=force, detached=True)
        return ExitCode.OK
    return run_to_end(sweep, runs, jobs=at_once, as_json=as_json, force=force) or _not_ended(runs)


def _await_orphans(runs: list[RunDir]) -> None:
    """Let workers end whose supervisor died; exit 3 where one does not."""
    from bncore.launch.orphans import PATIENCE_S, await_orphans

    def tell(left: list[RunDir]) -> None:
        typer.echo(f"waiting for {counted(len(left), 'worker')} of a dead supervisor to end", err=True)

    left = await_orphans(runs, tell)
    for run in left:
        typer.echo(f"bnrun: {run.name}: its worker did not end within {PATIENCE_S:.0f} s", err=True)
    if left:
        raise typer.Exit(ExitCode.NO_RUN)


def _not_ended(runs: list[RunDir]) -> int:
    """The exit code for runs none of which failed: 0 if every one has ended. What has not is said."""
    from bncore.follow.run_view import look_at
    from bncore.store.lineage import read_lineage

    left = 0
    for overview in look_at(runs):
        step = overview.status.step if overview.status else 0
        lineage = read_lineage(overview.run)
        repeated = lineage is not None and lineage.until == step  # as far as its original went
        if overview.state not in ("finished", "diverged") and not repeated:
            left += 1
            typer.echo(f"{overview.run.name}: {overview.state} at step {step:,}, not ended", err=True)
    return ExitCode.OK if not left else ExitCode.FAILED if left == len(runs) else ExitCode.SOME_FAILED


def _slurm_options(
    sweep: SweepDir, launcher: str | None, slurm: SlurmFlags, *, force: bool
) -> SlurmOptions | None:
    """Slurm's options for going on with a sweep: as it was submitted, what is given now over it; None: go on here.

    Raises:
        SpecError: an option that is not accepted.
    """
    before = recorded(sweep)
    if launcher == "local" or (launcher is None and before is None and not slurm.given()):
        return None
    if force:
        raise typer.BadParameter("not with Slurm, whose worker waits for silence", param_hint="--force")
    return slurm.options(before)


def _without_silent(live: list[RunDir]) -> list[RunDir]:
    """Those of the runs that live, as far as this host can tell; a holder elsewhere is given two minutes."""
    from bncore.store.owner import read_owner
    from bncore.store.status import find_stalled

    elsewhere = [run for run in live if (holder := read_owner(run)) is None or not holder.is_local()]
    if elsewhere:
        typer.echo(
            f"watching the heartbeats of {counted(len(elsewhere), 'run')} held by other hosts", err=True
        )
    silent = find_stalled(elsewhere)
    return [run for run in live if run not in silent]


def _ask(
    names: Sequence[str],
    root: Path | None,
    command: Command,
    *,
    wait: float | None = None,
    queued: bool = False,
) -> None:
    """See `_ask_runs`; of the runs that `names` mean."""
    _ask_runs(", ".join(names), runs_named(names, root), command, wait=wait, queued=queued)


def _ask_runs(
    name: str, runs: list[RunDir], command: Command, *, wait: float | None = None, queued: bool = False
) -> None:
    """Drop a request into the inbox of each run that lives; exit 3 where none does.

    Arguments:
        name: what they are called together.
        wait: seconds to wait for answers; None: not at all.
        queued: ask the runs that have not begun too.
    """
    from bncore.follow.run_view import look_at
    from bncore.store.requests import send_request

    seen = look_at(runs)
    live = [o.run for o in seen if o.state in ("running", "paused")]
    later = [o.run for o in seen if o.state == "queued"] if queued else []
    if not live and not later:
        typer.echo(f"bnrun: {escape_control(name)}: no live run to ask ({_states(seen)})", err=True)
        raise typer.Exit(ExitCode.NO_RUN)
    _refuse_beyond_the_end(command, seen)
    asked = {run: send_request(run, command) for run in live}
    for run in live:
        typer.echo(f"{run.name}: asked to {command.kind}", err=True)
    for run in later:
        send_request(run, command)
        typer.echo(f"{run.name}: queued; will be asked to {command.kind} when it begins", err=True)
    if wait is not None:
        from bntui.cli.answers import await_answers

        await_answers(asked, seconds=wait, stopping=command.kind == "stop")


def _refuse_beyond_the_end(command: Command, seen: list[RunView]) -> None:
    """Nothing is asked of anybody where a run will never come to the step."""
    at: int | None = getattr(command, "at_step", None)
    if at is None:
        return
    for overview in seen:
        steps = overview.status.steps if overview.status else 0
        if steps and at >= steps and overview.state in ("running", "paused", "queued"):
            expected = f"{overview.run.name} has {steps} steps; expected at most {steps - 1}"
            raise typer.BadParameter(escape_control(f"{at}: {expected}"), param_hint="--at-step")


def _states(seen: list[RunView]) -> str:
    told = [f"{escape_control(o.run.path.name)} {o.state}" for o in seen[:4]]
    return ", ".join(told) + (" ..." if len(seen) > 4 else "")


def _request_drop(runs: Sequence[RunDir], ident: str) -> None:
    """Send the request to the one run that is to be resumed, which answers it before it trains.

    Raises:
        BadParameter: several runs, no such request, or one that the run has trained with.
    """
    from bncore.store.dropped_requests import why_not
    from bncore.store.journal import read_events
    from bncore.store.requests import DropRequest, send_request

    def refuse(reason: str) -> None:
        raise typer.BadParameter(escape_control(reason), param_hint="--drop-request")

    if len(runs) != 1:
        refuse(f"{len(runs)} runs to restart; expected the one that the request stopped")
    (run,) = runs
    events = read_events(run.journal_file)
    ids = {str(e.get("id")) for e in events if e["type"] == "request" and str(e.get("id")).startswith(ident)}
    if len(ids) > 1:
        refuse(f"{ident}: {len(ids)} requests begin like this; expected more of the id")
    full = ids.pop() if ids else ident
    if reason := why_not(events, full):
        refuse(f"{run.name}: {reason}")
    send_request(run, DropRequest(request=full))
    typer.echo(f"{run.name}: resumes without request {escape_control(full)}", err=True)
