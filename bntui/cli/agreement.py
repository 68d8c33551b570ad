"""How a replay compares with the run that it repeats, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from bntui.cli.options import escape_control

if TYPE_CHECKING:
    from bncore.store.paths import RunDir


def original_of(run: RunDir) -> RunDir | None:
    """The run that a replay repeats; None for a run that is no replay, or whose original is gone."""
    from bncore.store.lineage import read_lineage
    from bncore.store.paths import RunDir

    lineage = read_lineage(run)
    if lineage is None or lineage.kind != "replay":
        return None
    original = RunDir((run.path / lineage.run).resolve())
    return original if original.journal_file.exists() else None


def tell_agreement(original: RunDir, again: RunDir) -> bool:
    """Say how a replay compares; whether it came out the same."""
    from bncore.follow.run_view import look_at
    from bncore.store.replay_diff import compare

    found = compare(original, again)
    mine, theirs = found.digests
    state = look_at([again])[0].state
    if found.same:
        what = f"same digest {mine[:16]}" if mine else "same events, as far as it went (it has no end)"
        typer.echo(f"{original.name}: {what}")
    elif state in ("dead", "failed", "queued", "running", "paused") or (state == "stopped" and mine):
        name = escape_control(again.name)
        typer.echo(
            f"{original.name}: its replay is {state}: `bnrun resume {name}`, then `bnrun verify {name}`"
        )
    else:
        typer.echo(f"{original.name}: differs: {escape_control(found.difference)}")
        typer.echo(f"  digests {str(mine)[:16]} and {str(theirs)[:16]}")
    if not found.comparable:
        typer.echo("  not comparable: " + escape_control("; ".join(found.environment_diff)))
    return found.same
