"""Verification of a run directory: what is wrong, and where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

from bncore.config.errors import SpecError
from bncore.config.model import Spec
from bncore.config.observed import Observed, observed_from_toml
from bncore.config.toml import resolved_spec_from_toml
from bncore.plain_files import exists, read_plain
from bncore.store.dropped_requests import in_effect
from bncore.store.errors import StoreError
from bncore.store.journal import REPLAYED_EVENTS, SCHEMA, Event, event_of
from bncore.store.lineage import read_lineage
from bncore.store.machine_log import machine_events
from bncore.store.paths import RunDir
from bncore.store.status import read_status

ENDED = ("finished", "diverged")

Loadable = Callable[[Path], tuple[int, str]]
"""Returns step and params_sha256 of a checkpoint; raises ValueError if it cannot be used."""


def verify(run: RunDir, loadable: Loadable) -> list[str]:
    """All problems of a run directory, one line each; empty if it is valid.

    Arguments:
        run: the run directory.
        loadable: loads one checkpoint (the caller supplies it, since this module does not import torch).
    """
    problems: list[str] = []
    spec: Spec | Observed | None = None
    try:
        spec = observed_from_toml(run.spec_file) or resolved_spec_from_toml(run.spec_file)
    except SpecError as error:
        problems.append(str(error))
    try:
        read_lineage(run)
    except StoreError as error:
        problems.append(str(error))
    status = read_status(run)
    if status is None:
        problems.append(f"{run.status_file}: no valid heartbeat")
    elif status.state == "queued" and not exists(run.journal_file):
        return problems
    events = _events(run, problems)
    problems += _sequence_problems(run, events)
    events = in_effect([{**event, "seq": number} for number, event in enumerate(events)])
    problems += _machine_problems(run)
    digests = _checkpoint_digests(run, loadable, problems)
    if isinstance(spec, Observed):  # an observed loop writes no checkpoints and evaluates when it likes
        problems += _missing_or_twice(run, events, "step", _multiples(spec.log_every, 0, _reached(events)))
    elif spec is not None:
        problems += _gaps(run, events, spec, max(digests, default=0))
    problems += _end_problems(run, events, None if isinstance(spec, Observed) else digests)
    if status is not None and status.state in ENDED and not any(e["type"] == "finished" for e in events):
        problems.append(f"{run.journal_file}: no finished event; {run.status_file.name} says {status.state}")
    return problems


def _events(run: RunDir, problems: list[str]) -> list[Event]:
    path = run.journal_file
    try:
        content = read_plain(path)
    except OSError as error:
        problems.append(f"{path}: cannot be read: {error.strerror}")
        return []
    if content and not content.endswith(b"\n"):
        problems.append(f"{path}: the last line is torn: readers pass it over, and a resume cuts it")
    events = []
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        event = event_of(line)
        if event is not None:
            events.append(event)
        else:
            problems.append(f"{path}: line {number} is no event: {line[:60]!r}")
    return events


def _machine_problems(run: RunDir) -> Iterator[str]:
    """Problems of `machine.jsonl`; a torn last line is not one."""
    path = run.machine_file
    try:
        lines = read_plain(path).split(b"\n")[:-1] if path.exists() else []
    except OSError as error:
        yield f"{path}: cannot be read: {error.strerror}"
        return
    for number, line in enumerate(lines, start=1):
        if not any(machine_events(line)):
            yield f"{path}: line {number} is no record: {line[:60]!r}"


def _sequence_problems(run: RunDir, events: list[Event]) -> Iterator[str]:
    path = run.journal_file
    if events and (events[0]["type"] != "start" or events[0].get("schema") not in range(1, SCHEMA + 1)):
        yield f"{path}: line 1 is no start event of a known schema"
    wrong = next((i for i, event in enumerate(events) if event.get("seq") != i), None)
    if wrong is not None:
        yield f"{path}: event {wrong}: seq is {events[wrong].get('seq')!r}, expected {wrong}"
    for before, event in pairwise(e for e in events if e["type"] in REPLAYED_EVENTS):
        if event["step"] < before["step"]:
            yield f"{path}: event {event.get('seq')}: step {event['step']} after step {before['step']}"
            break


def _gaps(run: RunDir, events: list[Event], spec: Spec, checkpointed: int) -> Iterator[str]:
    """Events that the spec requires but the journal lacks or has twice, up to the step the run has reached."""
    steps = [event["step"] for event in events if event["type"] == "step"]
    ended = any(event["type"] == "finished" and event["step"] == spec.steps for event in events)
    first = next((event["step"] for event in events if event["type"] == "parent"), 0)
    reached = max([checkpointed, *(step + 1 for step in steps)])
    if reached > spec.steps:
        yield f"{run.journal_file}: speaks of step {reached - 1}; the run has {spec.steps}"
    reached = min(reached, spec.steps)
    wanted = _multiples(spec.log_every, first, reached)
    wanted |= {spec.steps - 1} if reached == spec.steps else set()
    wanted_eval = _multiples(spec.eval.every, first, reached) if spec.eval.every else set()
    wanted_eval -= {first} if first else set()  # a fork's first evaluation may be in its parent's journal
    wanted_eval |= {spec.steps} if ended else set()
    yield from _missing_or_twice(run, events, "step", wanted)
    yield from _missing_or_twice(run, events, "eval", wanted_eval)


def _missing_or_twice(run: RunDir, events: list[Event], kind: str, due: set[int]) -> Iterator[str]:
    present = Counter(event["step"] for event in events if event["type"] == kind)
    missing, twice = due - present.keys(), [step for step, times in present.items() if times > 1]
    for steps, problem in ((missing, "are missing"), (twice, "are there twice")):
        if steps:
            yield f"{run.journal_file}: {len(steps)} {kind} events {problem}, the first of step {min(steps)}"


def _reached(events: list[Event]) -> int:
    """Number of updates made by an observed run, according to its journal."""
    ends = [event["step"] for event in events if event["type"] == "finished"]
    return max([*ends, *(event["step"] + 1 for event in events if event["type"] == "step")], default=0)


def _multiples(of: int, first: int, end: int) -> set[int]:
    return set(range(-(-first // of) * of, end, of))


def _checkpoint_digests(run: RunDir, loadable: Loadable, problems: list[str]) -> dict[int, str]:
    digests: dict[int, str] = {}
    for path in sorted(run.checkpoints.glob("*.pt")) if exists(run.checkpoints) else []:
        try:
            step, digest = loadable(path)
        except ValueError as error:
            problems.append(str(error))
            continue
        digests[step] = digest
    return digests


def _end_problems(run: RunDir, events: list[Event], digests: dict[int, str] | None) -> Iterator[str]:
    """Problems at the end of a run; `digests` is None if no checkpoints are expected."""
    ends = [event for event in events if event["type"] == "finished"]
    if not ends:
        return
    end = ends[0]
    if len(ends) > 1 or any(e["type"] in REPLAYED_EVENTS and e["step"] > end["step"] for e in events):
        yield f"{run.journal_file}: continues after event {end.get('seq')} (finished)"
    if digests is not None and end["step"] not in digests:
        yield f"{run.checkpoints}: no checkpoint of the last step {end['step']}"
    elif digests is not None and digests[end["step"]] != end.get("params_sha256"):
        yield (
            f"{run.journal_file}: event {end.get('seq')}: params_sha256 is {end.get('params_sha256')!r}, "
            f"the checkpoint's is {digests[end['step']]!r}"
        )
