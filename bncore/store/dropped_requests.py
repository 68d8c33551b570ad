"""Requests that a run was resumed without: applied, fatal to the run, and dropped when it was resumed.

The journal keeps both: the request, and the `drop_request` that took it back. What is read of a run to be
repeated (by resume, fork, replay) or to be judged is what `in_effect` leaves of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bncore.store.journal import Event

DROP = "drop_request"
TRAINED = frozenset({"step", "probe", "probe_failed", "finished"})
"""Events that come of an update: behind a request they say that it did not stop the run."""


def dropped_ids(events: Iterable[Event]) -> frozenset[str]:
    return frozenset(e["command"]["request"] for e in events if is_applied(e, DROP))


def superseded(events: Sequence[Event]) -> set[int]:
    """`seq` of the evaluations that were made under a request that was dropped later: they are made anew."""
    found: set[int] = set()
    for drop in (e for e in events if is_applied(e, DROP)):
        first = _applied(events, drop["command"]["request"])
        if first is not None:
            between = (e for e in events if first["seq"] < e["seq"] < drop["seq"])
            found |= {e["seq"] for e in between if e["type"] == "eval" and e["step"] >= first["step"]}
    return found


def in_effect(events: Sequence[Event]) -> list[Event]:
    """The events without requests that were dropped, what they alone brought about, and the dropping itself."""
    ids, void = dropped_ids(events), superseded(events)
    if not ids:
        return list(events)
    return [
        e
        for e in events
        if not is_applied(e, DROP)
        and not (e["type"] == "request" and e.get("id") in ids)
        and e.get("seq") not in void
    ]


def last_applied(events: Sequence[Event]) -> Event | None:
    """The change of settings that was the last thing to happen to a run; None where it trained after it."""
    for event in reversed(events):
        if event["type"] in TRAINED:
            return None
        if is_applied(event, "set") and event["id"] not in dropped_ids(events):
            return event
    return None


def why_not(events: Sequence[Event], ident: str) -> str:
    """Why a request cannot be dropped; empty where it can."""
    found = _applied(events, ident)
    if found is None:
        return f"no change of settings with id {ident} was applied to this run"
    if ident in dropped_ids(events):
        return f"request {ident} was dropped already"
    step = found["step"]
    later = [e for e in events if e["seq"] > found["seq"]]
    trained = any(e["type"] in TRAINED and e["step"] >= step for e in later)
    if trained or any(e["type"] == "checkpoint" and e["step"] > step for e in later):
        return f"the run has trained with it: `bnrun fork --at {step}` makes a run without it"
    return ""


def _applied(events: Iterable[Event], ident: str) -> Event | None:
    return next((e for e in events if is_applied(e, "set") and e.get("id") == ident), None)


def is_applied(event: Event, kind: str) -> bool:
    """Whether it is a request of that kind that was applied; journals are read as they are, odd ones too."""
    command = event.get("command")
    applied = event["type"] == "request" and event.get("outcome") == "applied"
    return applied and isinstance(command, dict) and command.get("kind") == kind
