"""Comparison of a replay with its original: digest, events, and what may explain a difference."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from bncore.store.dropped_requests import in_effect
from bncore.store.journal import REPLAYED_EVENTS, Event, difference, read_events, same_event
from bncore.store.paths import RunDir, meta_of

DECISIVE = ("versions", "device", "gpu", "cpu_capability", "threads", "precision", "data")
"""Fields of `meta.json` on which the digest may depend: runs that agree in them must have the same digest."""


MOVED = "continues in another environment: "
"""Beginning of the warning of a run that continued in another environment."""
MOVED_FORMERLY = "goes on in other surroundings: "
"""Beginning of that warning in journals of earlier versions."""


@dataclass(frozen=True)
class Agreement:
    """The outcome of a comparison."""

    same: bool
    """Whether every event of the original, including the digest, was reproduced identically."""
    digests: tuple[str | None, str | None]
    """params_sha256 of original and replay; None for a run that did not reach its end."""
    difference: str
    """The first event that differs, in words; empty if none does."""
    environment_diff: tuple[str, ...]
    """Differences in what the digest depends on: versions, device, threads, data."""

    @property
    def comparable(self) -> bool:
        """Whether both runs had the same environment, so that their digests must agree."""
        return not self.environment_diff


def compare(original: RunDir, copy: RunDir) -> Agreement:
    """Compare a run with its replay: step, eval, probe, note, request and finished events, ignoring `seq` and `t`.

    Raises:
        StoreError: a journal cannot be read.
    """
    mine, theirs = (in_effect(read_events(run.journal_file)) for run in (original, copy))
    requests, repeated = (
        sorted(_of(events, {"request"}), key=itemgetter("step")) for events in (mine, theirs)
    )
    ids = {event["id"] for event in requests}  # the replay may have requests of its own, such as a pause
    first = _first_difference(_of(mine, REPLAYED_EVENTS), _of(theirs, REPLAYED_EVENTS))
    first = first or _first_difference(requests, [e for e in repeated if e["id"] in ids])
    moved = [*_moved(original, mine), *_moved(copy, theirs)]
    elsewhere = [*environment_diff(meta_of(original), meta_of(copy)), *moved]
    return Agreement(not first, (_digest(mine), _digest(theirs)), first, tuple(elsewhere))


def _of(events: list[Event], kinds: Set[str]) -> list[Event]:
    return [event for event in events if event["type"] in kinds]


def _first_difference(mine: list[Event], theirs: list[Event]) -> str:
    for original, copy in zip(mine, theirs, strict=False):
        if not same_event(original, copy):
            return difference(original, copy)
    if len(theirs) < len(mine):
        missing = mine[len(theirs)]
        return f"event {missing['seq']} ({missing['type']} of step {missing['step']}): missing in the replay"
    return ""


def _digest(events: list[Event]) -> str | None:
    return next((e.get("params_sha256") for e in events if e["type"] == "finished"), None)


def environment_diff(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Differences between two ``meta.json`` in what the digest depends on, in words."""
    differences = []
    for key in DECISIVE:
        one, other = then.get(key), now.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            differences += [
                f"{key}.{name}: {one.get(name)} then, {other.get(name)} now"
                for name in sorted(one.keys() | other.keys())
                if one.get(name) != other.get(name)
            ]
        elif one != other:
            differences.append(f"{key}: {one} then, {other} now")
    return differences


def _moved(run: RunDir, events: list[Event]) -> list[str]:
    """Warnings of a run that it continued in another environment than before."""
    return [
        f"{run.name}: {event['text']}"
        for event in _of(events, {"warning"})
        if str(event.get("text")).startswith((MOVED, MOVED_FORMERLY))
    ]
