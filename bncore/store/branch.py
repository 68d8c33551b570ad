"""New runs derived from existing ones: a fork makes one change at some step, a replay repeats everything."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import tomli_w

from bncore.config.change import Changes, changed, values_at
from bncore.config.model import Spec
from bncore.config.toml import resolved_spec_from_toml
from bncore.store.dropped_requests import in_effect, is_applied
from bncore.store.errors import StoreError
from bncore.store.journal import Event, read_events
from bncore.store.lineage import Lineage, memory_of, read_lineage, write_lineage
from bncore.store.paths import CheckpointFile, RunDir, SweepDir, checkpoint_name, list_checkpoints
from bncore.store.requests import user_name
from bncore.store.status import Status, read_status, write_status
from bncore.store.sweep import new_directory

Usable = Callable[[Path], bool]
"""Predicate: can the checkpoint at this path be loaded?"""

UPDATING = frozenset({"eval", "step", "probe", "probe_failed"})
"""Types of events that are journaled only once the update of their step has begun."""


class BranchError(StoreError):
    """The run cannot be forked or replayed as requested; the message says why and what would be accepted."""


def fork(
    parent: RunDir,
    *,
    at: int | None,
    changes: Changes,
    follow: bool = False,
    usable: Usable = lambda _: True,
) -> RunDir:
    """Create ``<parent>-fork-<n>`` next to `parent`: identical up to step `at`, where `changes` are applied.

    The fork starts from the parent's newest checkpoint at or before `at`, or from initialization, and repeats the
    parent's requests up to `at`. The change is a request at that step. The run is queued, not started.

    Arguments:
        at: step of the change; default: the step of the parent's newest checkpoint before the end.
        changes: result of `bncore.config.change.parse_changes`; may be empty.
        follow: also repeat the parent's requests of later steps.
        usable: checks one checkpoint (the caller supplies it, since this module does not import torch); default:
            accept any.

    Raises:
        BranchError: there is no such step, or the parent did not reach it.
        SpecError: `changes` do not fit the settings in force at that step.
        StoreError: the file system refuses.
    """
    spec = resolved_spec_from_toml(parent.spec_file)
    events = in_effect(read_events(parent.journal_file))
    checkpoints = list_checkpoints(parent.checkpoints)
    own = read_lineage(parent)
    first = own.step if own is not None else 0
    last = _last_step(parent, spec, events)
    if at is None:
        steps = [c.step for c in checkpoints if first <= c.step < spec.steps]
        if not steps:
            why = f"no checkpoint to fork from; say --at STEP, from {first} to {last}"
            raise BranchError(f"{parent.name}: {why}")
        at = steps[-1]
    if not first <= at <= last:
        why = f"; before step {first} it is its parent's" if first else ""
        raise BranchError(f"--at: {at}; expected a step of {parent.name}, from {first} to {last}{why}")
    before = [e for e in events if e["type"] == "request" and e["step"] <= at]
    inherited = own.changes if own is not None else {}
    request = _change_request(spec, inherited, before, at, changes)
    with new_directory(parent.path.parent, f"{parent.path.name}-fork", digits=1) as (building, finish):
        run = RunDir(building)
        _fill(run, spec, parent)
        start = _copy_checkpoint([c for c in checkpoints if first <= c.step <= at], run, usable)
        if start < first:
            raise BranchError(f"{parent.name}: itself a fork, and its checkpoint of step {first} is gone")
        in_force = _in_force(spec, inherited, [e for e in before if e["step"] < start])
        requests = tuple(e for e in before if e["step"] >= start)
        later = [e for e in events if e["type"] == "request" and e["step"] > at] if follow else []
        script = (*requests, *request, *later)
        measured = tuple(memory_of(e for e in events if start <= e["step"] < at))
        lineage = Lineage("fork", f"../{parent.path.name}", start, at, None, script, measured, in_force)
        write_lineage(run, lineage)
        return RunDir(finish())


def replay(runs: list[RunDir], *, out: Path | None = None, usable: Usable = lambda _: True) -> SweepDir:
    """Create a sweep of replays of `runs`, all from one sweep: same specs, same requests as in their journals.

    Arguments:
        out: the new sweep's directory, new or empty; default: ``<sweep>-replay-<n>`` next to the sweep.
        usable: as for `fork`.

    Raises:
        BranchError: a run never started, or is itself a fork whose first checkpoint is gone.
        StoreError: the file system refuses.
    """
    sweep = runs[0].sweep
    folder, copy, hint = sweep.path.parent, f"{sweep.path.name}-replay", "; say --out elsewhere"
    with new_directory(folder, copy, digits=1, out=out, hint=hint) as (building, finish):
        with suppress(OSError):
            shutil.copyfile(sweep.sweep_file, building / "sweep.toml")
        (building / "inbox").mkdir()
        for original in runs:
            _fill_replay(RunDir(building / original.path.name), original, usable)
        if len(runs) < len(sweep.runs()) or not (building / "sweep.toml").exists():
            table = {"notes": [f"replay of {sweep.name}"], "queue": [run.path.name for run in runs]}
            (building / "sweep.toml").write_text(tomli_w.dumps(table))
        return SweepDir(finish())


def _fill_replay(run: RunDir, original: RunDir, usable: Usable) -> None:
    events = in_effect(read_events(original.journal_file))
    if not events:
        raise BranchError(f"{original.name}: never begun; there is nothing to replay")
    spec = resolved_spec_from_toml(original.spec_file)
    run.path.mkdir()
    _fill(run, spec, original)
    own = read_lineage(original)
    start, in_force = 0, {}
    if own is not None:
        checkpoints = list_checkpoints(original.checkpoints)
        begun_from = [c for c in checkpoints if c.why == "parent" and c.step == own.step]
        start, in_force = _copy_checkpoint(begun_from, run, usable), own.changes
        if start < own.step:
            raise BranchError(f"{original.name}: a fork, and its checkpoint of step {own.step} is gone")
    requests = tuple(e for e in events if e["type"] == "request")
    until = None if any(e["type"] == "finished" for e in events) else updates_begun(events)
    path = os.path.relpath(original.path.resolve(), run.path.resolve())
    write_lineage(run, Lineage("replay", path, start, 0, until, requests, tuple(memory_of(events)), in_force))


def updates_begun(events: list[Event]) -> int:
    """Number of updates that a run has begun, according to its journal.

    An evaluation that was not requested counts as part of its step's update.
    """
    requested = {event["step"] for event in events if is_applied(event, "evaluate")}
    steps = (
        event["step"] + 1
        if event["type"] in UPDATING and not (event["type"] == "eval" and event["step"] in requested)
        else event["step"]
        for event in events
    )
    return max(steps, default=0)


def _last_step(parent: RunDir, spec: Spec, events: list[Event]) -> int:
    """The last step that a run has reached, according to its journal and its heartbeat."""
    status = read_status(parent)
    return min(max(updates_begun(events), status.step if status is not None else 0), spec.steps - 1)


def _in_force(spec: Spec, inherited: Changes, requests: list[Event]) -> Changes:
    """Settings that differ from the spec: those inherited at the start, then those changed by `requests`."""
    settings = dict(inherited)
    spec = changed(spec, inherited) if inherited else spec
    for event in requests:
        if event["command"]["kind"] == "set" and event["outcome"] == "applied":
            spec = changed(spec, event["command"]["changes"])
            settings |= values_at(spec, event["command"]["changes"])
    return settings


def _change_request(
    spec: Spec, inherited: Changes, before: list[Event], step: int, changes: Changes
) -> tuple[Event, ...]:
    """The change as a request event, validated against the settings in force at that step."""
    if not changes:
        return ()
    in_force = _in_force(spec, inherited, before)
    spec = changed(spec, in_force) if in_force else spec
    after = changed(spec, changes, "fork")
    event: dict[str, Any] = {
        "type": "request",
        "step": step,
        "id": uuid.uuid4().hex,
        "author": user_name(os.getuid()),
        "command": {"kind": "set", "at_step": step, "changes": changes},
        "outcome": "applied",
        "old": values_at(spec, changes),
        "new": values_at(after, changes),
        "reason": "",
    }
    return (event,)


def _fill(run: RunDir, spec: Spec, original: RunDir) -> None:
    run.inbox.mkdir()
    run.checkpoints.mkdir()
    shutil.copyfile(original.spec_file, run.spec_file)
    write_status(run, Status("queued", steps=spec.steps))


def _copy_checkpoint(checkpoints: list[CheckpointFile], run: RunDir, usable: Usable) -> int:
    """Copy the newest usable checkpoint into `run`; returns its step, or 0 if none is usable."""
    for one in reversed(checkpoints):
        copy = run.checkpoints / checkpoint_name(one.step, "parent")
        try:
            shutil.copyfile(one.path, copy)
        except FileNotFoundError:  # the parent is still running and has just pruned it
            continue
        if usable(copy):
            return one.step
        copy.unlink()
    return 0
