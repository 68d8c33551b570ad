"""`rm`: removing runs."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from bncore.config.errors import escape_control
from bncore.follow.run_view import view_runs
from bncore.store.paths import RunDir, SweepDir
from bncore.store.status import Observer
from bntui.cli.exit_codes import ExitCode
from bntui.cli.options import Names, Root, counted, fail
from bntui.cli.select_runs import Where, places_named
from bntui.cli.slurm import waiting_tasks


def rm(
    names: Names = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Skip confirmation.")] = False,
    where: Where = None,
    root: Root = None,
) -> None:
    """Remove runs or sweeps.

    Nothing is removed while one of them is live."""
    found = places_named(names, root, where, announce=True)
    live = [name for one in found for name in _alive(one)]
    if live:
        fail(f"{', '.join(live)}: live; `bnrun stop` it first", ExitCode.USAGE)
    if not yes and not typer.confirm(_question(found), err=True):
        raise typer.Exit(ExitCode.FAILED)
    for one in found:
        try:
            shutil.rmtree(one.path)
        except OSError as error:
            fail(f"{one.path}: cannot be removed: {error.strerror or error}")


def _question(found: list[RunDir | SweepDir]) -> str:
    counts = [1 if isinstance(one, RunDir) else len(one.runs()) for one in found]
    listed = [f"{one.path} ({counted(count, 'run')})" for one, count in zip(found, counts, strict=True)]
    return escape_control(f"Remove {', '.join(listed)}?")


def _alive(found: RunDir | SweepDir) -> list[str]:
    """Names of what is under way or waits for its turn there."""
    seen = view_runs([found] if isinstance(found, RunDir) else found.runs())
    sweep = found.sweep if isinstance(found, RunDir) else found
    alive = ("running", "paused", "queued") if Observer().supervised(sweep) else ("running", "paused")
    live = [o.run.name for o in seen if o.state in alive]
    live += [run.name for run in waiting_tasks(seen)]
    if not live and found is sweep and Observer().supervised(sweep):
        live = [f"{sweep.name}: its supervisor"]
    return live
