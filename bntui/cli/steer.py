"""`pause`, `step`, `stop`, `resume`: requests to live runs, and going on with dead ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bntui.cli.exit_codes import ExitCode
from bntui.cli.inspect import runs_of
from bntui.cli.options import Json, Root, Run, default_root
from bntui.cli.submit import Jobs, finish

if TYPE_CHECKING:
    from pathlib import Path

    from bncore.store.paths import RunDir
    from bncore.store.requests import Command

Force = Annotated[bool, typer.Option("--force", help="Take a run even from a process that seems to hold it.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("pause")(pause)
    app.command("step")(step)
    app.command("stop")(stop)
    app.command("resume")(resume)


def pause(name: Run, root: Root = None) -> None:
    """Ask a live run, or every run of a sweep, to wait at its next step."""
    from bncore.store.requests import Pause

    _ask(name, root, Pause())


def step(
    name: Run,
    count: Annotated[int, typer.Option("--count", min=1, help="How many updates.")] = 1,
    root: Root = None,
) -> None:
    """Ask a live run for so many updates, and to pause after them."""
    from bncore.store.requests import Step

    _ask(name, root, Step(count=count))


def stop(name: Run, root: Root = None) -> None:
    """Ask a live run, or every run of a sweep, to checkpoint and end; `bnrun resume` goes on."""
    from bncore.store.requests import Stop

    _ask(name, root, Stop())


def resume(
    name: Run, jobs: Jobs = None, force: Force = False, as_json: Json = False, root: Root = None
) -> None:
    """Unpause a live run; restart a dead or stopped one, or what is missing of a sweep, where it was."""
    from bncore.launch.devices import cpu_count
    from bncore.store.find import find
    from bncore.store.paths import SweepDir
    from bncore.store.requests import Resume, drop
    from bntui.cli.overview import look_at

    runs = runs_of(find(root or default_root(), name))
    seen = look_at(runs)
    live = [o.run for o in seen if o.state in ("running", "paused") and not force]
    live = _without_silent(live)
    dead = [o.run for o in seen if o.state not in ("finished", "diverged") and o.run not in live]
    if not live and not dead:
        typer.echo(f"bnrun: {name}: nothing to resume: every run has ended", err=True)
        raise typer.Exit(ExitCode.USAGE)
    for run in live:
        drop(run, Resume())
        typer.echo(f"{run.name}: asked to go on", err=True)
    if dead:
        sweep = SweepDir(dead[0].path.parent)
        finish(sweep, dead, jobs=jobs or max(1, min(len(dead), cpu_count())), as_json=as_json, force=force)


def _without_silent(live: list[RunDir]) -> list[RunDir]:
    """Those of the runs that live, as far as this host can tell; a holder elsewhere is given two minutes."""
    from bncore.store.owner import read_owner
    from bncore.store.silence import silent_runs

    elsewhere = [run for run in live if (holder := read_owner(run)) is None or not holder.is_local()]
    if elsewhere:
        typer.echo(f"watching the heartbeats of {len(elsewhere)} runs held by other hosts", err=True)
    silent = silent_runs(elsewhere)
    return [run for run in live if run not in silent]


def _ask(name: str, root: Path | None, command: Command) -> None:
    """Drop a request into the inbox of each live run that `name` means; exit 3 where none lives."""
    from bncore.store.find import find
    from bncore.store.requests import drop
    from bntui.cli.overview import look_at

    runs = runs_of(find(root or default_root(), name))
    live: list[RunDir] = [o.run for o in look_at(runs) if o.state in ("running", "paused")]
    if not live:
        typer.echo(f"bnrun: {name}: no live run to ask", err=True)
        raise typer.Exit(ExitCode.NO_RUN)
    for run in live:
        drop(run, command)
        typer.echo(f"{run.name}: asked to {command.kind}", err=True)
