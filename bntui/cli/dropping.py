"""`resume --drop-request`: going on without a request that stopped a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from bntui.cli.options import harmless

if TYPE_CHECKING:
    from bncore.store.paths import RunDir


def ask_to_drop(runs: list[RunDir], ident: str) -> None:
    """Put the wish into the inbox of the one run that is to be resumed, which answers it before it goes on.

    Raises:
        BadParameter: several runs, no such request, or one that the run has trained with.
    """
    from bncore.store.dropped import why_not
    from bncore.store.journal import read_events
    from bncore.store.requests import DropRequest, drop

    def refuse(reason: str) -> None:
        raise typer.BadParameter(harmless(reason), param_hint="--drop-request")

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
    drop(run, DropRequest(request=full))
    typer.echo(f"{run.name}: goes on without request {harmless(full)}", err=True)
