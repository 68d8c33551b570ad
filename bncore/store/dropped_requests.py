"""Dropped requests: applied, fatal to the run, and withdrawn when the run was resumed.

The journal keeps both the request and the `drop_request` that withdrew it. Whoever repeats a run (resume, fork,
replay) or judges it reads the events that `in_effect` returns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bncore.store.journal import UNMADE, Event

DROP = "drop_request"
TRAINED = frozenset({"step", "probe", "probe_failed", "finished"})
"""Types of events that an update produces. After a request, they prove that the run survived it."""


def dropped_ids(events: Iterable[Event]) -> frozenset[str]:
    return frozenset(e["command"]["request"] for e in events if is_applied(e, DROP))


def superseded(events: Sequence[Event]) -> dict[int, Event | None]:
    """Evaluations made under a request that was dropped later, by `seq`: each maps to its replacement, or to None
    if that has not been made yet."""
    replacements: dict[int, Event | None] = {}
    evaluations = [e for e in events if e["type"] == "eval"]
    for drop in (e for e in events if is_applied(e, DROP)):
        first = _applied(events, drop["command"]["request"])
        if first is None:
            continue
        fresh = [e for e in evaluations if e["seq"] > drop["seq"]]
        for one in evaluations:
            if first["seq"] < one["seq"] < drop["seq"] and one["step"] >= first["step"]:
                anew = next((e for e in fresh if e["step"] == one["step"]), None)
                replacements[one["seq"]] = anew
                fresh = [e for e in fresh if e is not anew]
    return replacements


def in_effect(events: Sequence[Event], *, unmade: bool = False) -> list[Event]:
    """The events without dropped requests, their `drop_request` events, and evaluations made only because of them.

    A replacement evaluation takes the place of the one it supersedes.

    Arguments:
        unmade: keep superseded evaluations that have no replacement yet, marked `UNMADE`.
    """
    ids, anew = dropped_ids(events), superseded(events)
    if not ids:
        return list(events)
    moved = {e["seq"] for e in anew.values() if e is not None}
    effective = []
    for event in events:
        if is_applied(event, DROP) or (event["type"] == "request" and event.get("id") in ids):
            continue
        if event.get("seq") in moved:
            continue
        now: Event | None = event
        while now is not None and now.get("seq") in anew:
            now = anew[now["seq"]]
        if now is not None:
            effective.append(now)
        elif unmade:
            effective.append({**event, UNMADE: True})
    return effective


def last_applied(events: Sequence[Event]) -> Event | None:
    """The last applied change of settings that was not dropped; None if the run has trained since."""
    for event in reversed(events):
        if event["type"] in TRAINED:
            return None
        if is_applied(event, "set") and event["id"] not in dropped_ids(events):
            return event
    return None


def why_not(events: Sequence[Event], ident: str) -> str:
    """Why a request cannot be dropped; empty if it can."""
    applied = _applied(events, ident)
    if applied is None:
        return f"no change of settings with id {ident} was applied to this run"
    if ident in dropped_ids(events):
        return f"request {ident} was dropped already"
    step = applied["step"]
    later = [e for e in events if e["seq"] > applied["seq"]]
    trained = any(e["type"] in TRAINED and e["step"] >= step for e in later)
    if trained or any(e["type"] == "checkpoint" and e["step"] > step for e in later):
        return f"the run has trained with it: `bnrun fork --at {step}` makes a run without it"
    return ""


def _applied(events: Iterable[Event], ident: str) -> Event | None:
    return next((e for e in events if is_applied(e, "set") and e.get("id") == ident), None)


def is_applied(event: Event, kind: str) -> bool:
    """Whether the event is an applied request of that kind; tolerates malformed events."""
    return _applied_command(event).get("kind") == kind


def changes_of(event: Event) -> dict[str, Any]:
    """New values by dotted path, if the event is an applied request that has any; else empty."""
    changes = _applied_command(event).get("changes")
    return changes if isinstance(changes, dict) else {}


def _applied_command(event: Event) -> dict[str, Any]:
    command = event.get("command")
    applied = event["type"] == "request" and event.get("outcome") == "applied"
    return command if applied and isinstance(command, dict) else {}
