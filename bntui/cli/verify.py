"""`verify`: checking run directories, and how a replay compares with the run that it repeats."""

from __future__ import annotations

import typer

from bncore.config.errors import escape_control
from bncore.follow.run_view import view_runs
from bncore.store.lineage import read_lineage
from bncore.store.paths import RunDir
from bncore.store.replay_diff import compare
from bncore.store.verify import verify as check
from bntui.cli.exit_codes import ExitCode
from bntui.cli.options import Names, Root, counted
from bntui.cli.select_runs import Where, runs_named


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
    """The run that a replay repeats; None for a run that is no replay, or whose original is gone."""
    lineage = read_lineage(run)
    if lineage is None or lineage.kind != "replay":
        return None
    original = RunDir((run.path / lineage.run).resolve())
    return original if original.journal_file.exists() else None


def report_agreement(original: RunDir, again: RunDir) -> bool:
    """Say how a replay compares; whether it came out the same."""
    found = compare(original, again)
    mine, theirs = found.digests
    state = view_runs([again])[0].state
    if found.same:
        what = f"same digest {mine[:16]}" if mine else "same events as far as it ran (no end event)"
        typer.echo(f"{original.name}: {what}")
    elif state in ("dead", "failed", "queued", "running", "paused") or (state == "stopped" and mine):
        name = escape_control(again.name)
        hint = f"`bnrun resume {name}`, then `bnrun verify {name}`"
        typer.echo(f"{original.name}: its replay is {state}: {hint}")
    else:
        typer.echo(f"{original.name}: differs: {escape_control(found.difference)}")
        typer.echo(f"  digests {str(mine)[:16]} and {str(theirs)[:16]}")
    if not found.comparable:
        typer.echo("  not comparable: " + escape_control("; ".join(found.environment_diff)))
    return found.same
