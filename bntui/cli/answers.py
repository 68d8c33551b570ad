"""Waiting for what a run answers to a request: its journal says so."""

from __future__ import annotations

import time
from typing import Any

import typer

from bncore.config.errors import escape_control, shown
from bncore.store.owner import read_owner
from bncore.store.paths import RunDir
from bncore.store.reader import read
from bncore.store.requests import take_back
from bncore.store.status import LIVE, read_status
from bntui.cli.exit_codes import ExitCode
from bntui.cli.options import say

POLL_EVERY_S = 0.1


def await_answers(request_ids: dict[RunDir, str], *, seconds: float, stopping: bool = False) -> None:
    """Print the answer to each request, as it comes; exit 3 where one does not come in time, 2 where one is no.

    Arguments:
        request_ids: by run.
        seconds: how long to wait for all of them.
        stopping: the requests are to stop: a run that has ended otherwise meanwhile counts as an answer,
            and its request is taken back.
    """
    readers = {run: read(run) for run in request_ids}
    left, silent, refused, until = dict(request_ids), [], False, time.monotonic() + seconds
    while left:
        for run, ident in list(left.items()):
            owner = read_owner(run)  # before the last poll
            over = owner is None or owner.known_dead() or time.monotonic() >= until
            answer = _find(readers[run].advance(budget_s=0).events, ident)
            if answer is not None:
                typer.echo(f"{run.name}: {in_words(answer)}")
                refused = refused or answer["outcome"] != "applied"
            elif over and stopping and (end := _end_of(run)):
                take_back(run, ident)
                typer.echo(f"{run.name}: {end}")
            elif over:
                silent.append(run)
            else:
                continue
            del left[run]
        if left:
            time.sleep(POLL_EVERY_S)
    for run in silent:
        say(f"bnrun: {run.name}: no answer; the request stays in its inbox")
    if silent:
        raise typer.Exit(ExitCode.NO_RUN)
    if refused:
        raise typer.Exit(ExitCode.USAGE)


def in_words(event: dict[str, Any]) -> str:
    """``applied at step 120: norm.kind 'batch' -> 'l1'``, or the reason why not."""
    if event["outcome"] != "applied":
        return f"rejected at step {event['step']}: {escape_control(str(event['reason']))}"
    old, new = event.get("old") or {}, event.get("new") or {}
    changes = [
        f"{escape_control(path)} {shown(old.get(path))} -> {shown(value)}" for path, value in new.items()
    ]
    what = ", ".join(changes) or str(event["command"].get("kind", ""))
    return f"applied at step {event['step']}: {what}"


def _find(events: list[dict[str, Any]], ident: str) -> dict[str, Any] | None:
    return next((e for e in reversed(events) if e["type"] == "request" and e.get("id") == ident), None)


def _end_of(run: RunDir) -> str:
    """``stopped at step 120`` of a run that ended by itself or at another's request; else empty."""
    status = read_status(run)
    ended = status is not None and status.state not in {*LIVE, "queued"}
    return f"{status.state} at step {status.step:,}" if status is not None and ended else ""
