"""Requests to resume without an earlier one: answered when a run is resumed, before its state is loaded."""

from __future__ import annotations

from contextlib import suppress

from bncore.store.commands import DropRequest
from bncore.store.dropped_requests import last_applied, why_not
from bncore.store.errors import StoreError
from bncore.store.journal import Journal, read_events
from bncore.store.paths import RunDir
from bncore.store.requests import may_ask, waiting


def drop_requests(run: RunDir, journal: Journal) -> None:
    """Journal requests of this kind as applied or rejected; its files go."""
    answered = {event["id"] for event in journal.events if event["type"] == "request"}
    for request in waiting(run):
        if not isinstance(request.command, DropRequest):
            continue
        with suppress(OSError):  # taken back meanwhile
            if not may_ask(request.path.stat().st_uid, run.inbox):
                continue  # set aside later, as everything from them
            if request.id not in answered:
                reason = why_not(journal.events, request.command.request)
                event = journal.append(
                    "request",
                    journal.events[-1]["step"] if journal.events else 0,
                    id=request.id,
                    author=request.author,
                    command=request.command.model_dump(mode="json"),
                    outcome="rejected" if reason else "applied",
                    old=None,
                    new=None,
                    reason=reason,
                )
                journal.events.append(event)
            request.path.unlink(missing_ok=True)


def resume_hint(run: RunDir) -> str:
    """What a person may do about a run that failed; empty where it was no request that it failed of."""
    with suppress(StoreError):
        event = last_applied(read_events(run.journal_file))
        if event is not None:
            ident = event["id"][:8]
            return f" (after request {ident}: `bnrun resume --drop-request {ident}` resumes without it)"
    return ""
