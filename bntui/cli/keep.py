"""`verify` and `rm`: check run directories, compare a replay with its original, and remove runs."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from bncore.config.errors import escape_control
from bncore.follow.run_view import view_runs
from bncore.store.lineage import read_lineage
from bncore.store.paths import RunDir, SweepDir
from bncore.store.replay_diff import compare
from bncore.store.status import LIVE, Observer
from bncore.store.verify import verify as check
from bntui.cli.exit_codes import ExitCode
from bntui.cli.options import Names, Root, counted, fail
from bntui.cli.select_runs import Where, places_named, runs_named
from bntui.cli.slurm import waiting_tasks


def verify(names: Names = None, where: Where = None, root: Root = None) -> None:
    """Check journals, checkpoints and digests of runs.

    A replay is also compared with its original. Exit 1 if there is a problem."""
    from bncore.train.checkpoint import step_and_digest  # noqa: PLC0415 - torch

    wrong = False
    for run in runs_named(names, root, where):
        problems = check(run, step_and_digest)
        typer.echo(f"{run.name}: {'ok' if not problems else counted(len(problems), 'problem')}")
        for problem in problems:
            typer.echo(escape_control(f"  {problem}"))
        wrong = wrong or bool(problems)
        original = original_of(run)
        if original is not None and not report_agreement(original, run):
            wrong = True
    raise typer.Exit(ExitCode.FAILED if wrong else ExitCode.OK)


def original_of(run: RunDir) -> RunDir | None:
    """The run that a replay repeats; None if the run is not a replay or its original is gone."""
    lineage = read_lineage(run)
    if lineage is None or lineage.kind != "replay":
        return None
    original = RunDir((run.path / lineage.run).resolve())
    return original if original.journal_file.exists() else None


def report_agreement(original: RunDir, replayed: RunDir) -> bool:
    """Print how a replay compares with its original; return whether they agree."""
    agreement = compare(original, replayed)
    mine, theirs = agreement.digests
    state = view_runs([replayed])[0].state
    if agreement.same:
        what = f"same digest {mine[:16]}" if mine else "same events as far as it ran (no end event)"
        typer.echo(f"{original.name}: {what}")
    elif state in ("dead", "failed", "queued", "running", "paused") or (state == "stopped" and mine):
        name = escape_control(replayed.name)
        hint = f"`bnrun resume {name}`, then `bnrun verify {name}`"
        typer.echo(f"{original.name}: its replay is {state}: {hint}")
    else:
        typer.echo(f"{original.name}: differs: {escape_control(agreement.difference)}")
        typer.echo(f"  digests {str(mine)[:16]} and {str(theirs)[:16]}")
    if not agreement.comparable:
        typer.echo("  not comparable: " + escape_control("; ".join(agreement.environment_diff)))
    return agreement.same


def rm(
    names: Names = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Skip confirmation.")] = False,
    where: Where = None,
    root: Root = None,
) -> None:
    """Remove runs or sweeps.

    Nothing is removed while one of them is live."""
    places = places_named(names, root, where, announce=True)
    live = [name for one in places for name in _alive(one)]
    if live:
        fail(f"{', '.join(live)}: live; `bnrun stop` it first", ExitCode.USAGE)
    if not yes and not typer.confirm(_question(places), err=True):
        raise typer.Exit(ExitCode.FAILED)
    for one in places:
        try:
            shutil.rmtree(one.path)
        except OSError as error:
            fail(f"{one.path}: cannot be removed: {error.strerror or error}")


def _question(places: list[RunDir | SweepDir]) -> str:
    listed = [f"{one.path} ({counted(len(one.runs()), 'run')})" for one in places]
    return escape_control(f"Remove {', '.join(listed)}?")


def _alive(place: RunDir | SweepDir) -> list[str]:
    """Names of live and queued runs in a run or sweep, or of its supervisor."""
    seen = view_runs(place.runs())
    sweep = place.sweep if isinstance(place, RunDir) else place
    alive = LIVE | {"queued"} if Observer().supervised(sweep) else LIVE
    live = [o.run.name for o in seen if o.state in alive]
    live += [run.name for run in waiting_tasks(seen)]
    if not live and place is sweep and Observer().supervised(sweep):
        live = [f"{sweep.name}: its supervisor"]
    return live
