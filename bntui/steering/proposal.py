"""Proposals: what would be sent to which runs, shown before it is sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from bncore.config.change import changed, parse_changes
from bncore.config.controls import ANY_LP, Control, parse_controls, show_value
from bncore.config.errors import Problem, SpecError, own_words
from bncore.follow.request_view import summary
from bncore.follow.run_view import RunView
from bncore.launch.slurm.array import read_record
from bncore.store.commands import CancelQueued, Command, Set, SetControls, Stop, StopSweep
from bncore.store.paths import OwnedDir, SweepDir
from bntui.live.snapshot import SweepView
from bntui.steering.verbs import VERBS, WORKING, Verb, named_settings, parse_text


@dataclass(frozen=True)
class Proposal:
    """Requests and commands, ready to be sent."""

    sentence: str
    """Description, such as ``norm l1``; escaped."""
    targets: tuple[RunView, ...]
    skipped: tuple[RunView, ...]
    """Selected runs whose state does not accept the request."""
    at: int | None
    requests: tuple[tuple[OwnedDir, BaseModel], ...] = ()
    """Pairs of the inbox's owner and the request to put into it."""
    commands: tuple[tuple[str, ...], ...] = ()
    """Arguments of `bnrun` commands, for actions that are not requests."""
    now: str = ""
    """Current and accepted values of the controls that are set in an observed loop."""


def propose(
    name: str,
    text: str,
    runs: Sequence[RunView],
    sweeps: Sequence[SweepView] = (),
    *,
    whole_sweep: bool = False,
) -> Proposal:
    """The proposal for a verb of `VERBS`, the typed text, and some runs.

    Arguments:
        sweeps: sweeps of the runs, with the states of their supervisors.
        whole_sweep: whether the request is for the whole sweep.

    Raises:
        SpecError: the text is invalid for one of the runs, or no run can accept the request.
    """
    verb = VERBS[name]
    words, at = parse_text(text)
    targets = tuple(view for view in runs if view.state in verb.states)
    skipped = tuple(view for view in runs if view not in targets)
    if not targets:
        states = ", ".join(sorted({view.state for view in runs})) or "no run selected"
        raise SpecError([Problem(verb.title, "", message=f"no run can accept this ({states})")])
    if verb.command is None:
        return _command_lines(name, words, at, targets, skipped)
    try:
        sent = tuple((view, request(verb, words, at, view)) for view in targets)
    except ValidationError as error:
        message = own_words(error.errors()[0]["msg"])
        raise SpecError([Problem(verb.title, "", message=message)]) from error
    command = sent[0][1]
    if isinstance(command, Set):
        _check(command.changes, targets)
    requests: tuple[tuple[OwnedDir, BaseModel], ...] = tuple((view.run, one) for view, one in sent)
    commands: tuple[tuple[str, ...], ...] = ()
    if isinstance(command, Stop):
        commands = tuple(("stop", str(view.run.path)) for view in targets if _waits_in_slurm(view, sweeps))
        stopped = {view.run.path for view in runs} if whole_sweep else set()
        requests = _stops(command, targets, sweeps, stopped, otherwise=bool(commands))
    now = limits(command, targets[0].controls or ())
    return Proposal(summary(command.model_dump(mode="json")), targets, skipped, at, requests, commands, now)


def suggestions(name: str, view: RunView | None) -> tuple[str, ...]:
    """Suggested texts for a verb, the most likely first."""
    verb = VERBS[name]
    if view is not None and view.controls is not None and verb.sets is not None:
        return control_options(verb.sets, view.controls)
    return verb.options(view.spec if view else None)


def _check(changes: dict[str, Any], targets: Sequence[RunView]) -> None:
    """Refuse changes that a run would reject because they do not fit the rest of its spec."""
    for view in targets:
        if view.spec is not None:
            try:
                changed(view.spec, changes, view.name)
            except SpecError as error:
                raise SpecError(error.problems[:1]) from error


def _waits_in_slurm(view: RunView, sweeps: Sequence[SweepView]) -> bool:
    """Whether the run is queued in Slurm, so that only Slurm can cancel it, which `bnrun stop` requests."""
    if view.state != "queued" or view.run.path.parent in _supervised(sweeps):
        return False
    record = read_record(view.run.sweep)
    return record is not None and record.task_of(view.run) is not None


def _supervised(sweeps: Sequence[SweepView]) -> set[Path]:
    return {sweep.sweep.path for sweep in sweeps if sweep.state in WORKING}


def _stops(
    command: Stop,
    targets: Sequence[RunView],
    sweeps: Sequence[SweepView],
    all_of: set[Path],
    *,
    otherwise: bool,
) -> tuple[tuple[OwnedDir, BaseModel], ...]:
    """Requests that stop runs. A working run gets the request itself; a queued one is canceled by its sweep's
    supervisor. If a whole sweep is to stop, its supervisor also stops the working runs, which then get no request
    of their own: they would be stopped again when resumed.

    Arguments:
        all_of: runs that are all to stop; a sweep is stopped as a whole if they include all of its runs.
        otherwise: whether the proposal contains anything else.
    """
    alive = _supervised(sweeps)
    working = [(view.run, command) for view in targets if view.state in WORKING]
    queued = [view.run for view in targets if view.state == "queued" and view.run.path.parent in alive]
    owners: dict[SweepDir, None] = {}
    if command.at_step is None:
        whole = (run.sweep for run in queued if all(one.path in all_of for one in run.sweep.runs()))
        owners = dict.fromkeys(whole)
    # Runs that the supervisor of a sweep stops, which excludes forks.
    theirs = {view.run for view in targets if view.run.sweep in owners and view.parent is None}
    cancelled = ((run.sweep, CancelQueued(run=run.path.name)) for run in queued if run.sweep not in owners)
    requests = (
        *((sweep, StopSweep()) for sweep in owners),
        *((held, stop) for held, stop in working if held not in theirs),
        *cancelled,
    )
    if not requests and not otherwise:
        raise SpecError([Problem("stop", "", message="the queued runs have no supervisor")])
    return requests


def _command_lines(
    name: str,
    settings: list[str],
    at: int | None,
    targets: tuple[RunView, ...],
    skipped: tuple[RunView, ...],
) -> Proposal:
    if name == "restart":
        if settings or at is not None:
            raise SpecError([Problem("restart", "", " ".join(settings), "nothing")])
        lines = [("resume", str(view.run.path), "--detach") for view in targets]
        return Proposal("restart where it stopped", targets, skipped, None, commands=tuple(lines))
    changes = parse_changes(settings, "fork")
    _check(changes, targets)
    when = () if at is None else ("--at", str(at))
    lines = [("fork", str(view.run.path), *when, "--detach", *settings) for view in targets]
    change = summary({"kind": "set", "changes": changes}) if changes else "no change"
    return Proposal(f"fork with {change}", targets, skipped, at, commands=tuple(lines))


FACTORS = (0.5, 0.1, 2, 10)


def request(verb: Verb, words: list[str], at: int | None, view: RunView) -> Command:
    """The request that a text stands for; for an observed loop, settings are its controls.

    Raises:
        SpecError: the text is invalid.
        ValidationError: the text is invalid.
    """
    assert verb.command is not None
    if view.controls is None or verb.sets is None:
        return verb.command(words, at)
    controls_set = _about(verb.sets, view.controls)
    name = controls_set[0].name if verb.sets and controls_set else verb.sets
    return SetControls(changes=parse_controls(named_settings(name, words), view.controls), at_step=at)


def control_options(sets: str, controls: Sequence[Control]) -> tuple[str, ...]:
    """Suggested texts: new values of the controls that a verb is about, or the current values of all controls if
    it is about none of them."""
    controls_set = _about(sets, controls)
    if not controls_set:
        return tuple(f"{control.name}={show_value(control.value)}" for control in controls)
    return tuple(
        f"{control.name}={show_value(value)}" for control in controls_set for value in _others(control)
    )


def limits(command: Command, controls: Sequence[Control]) -> str:
    """Current and accepted values of the controls that a request sets."""
    if not isinstance(command, SetControls):
        return ""
    targets = (control for control in controls if control.name in command.changes)
    return "; ".join(f"{one.name} now {show_value(one.value)} ({one.accepted})" for one in targets)


def _about(sets: str, controls: Sequence[Control]) -> list[Control]:
    """Controls with the name of one of our settings, or of a part of it: `lr`, `lr.0`."""
    return [control for control in controls if sets and control.name.partition(".")[0] == sets]


def _others(control: Control) -> Iterator[object]:
    """Alternatives to the current value: other choices, or nearby numbers."""
    if isinstance(control.value, bool):
        yield not control.value
    elif control.choices:
        yield from (one for one in control.choices if one not in (control.value, ANY_LP))
    elif isinstance(control.value, str) or not control.value:
        yield control.value
    else:
        whole = isinstance(control.value, int)
        near = (control.value * factor for factor in FACTORS)
        values = dict.fromkeys(round(value) if whole else float(f"{value:.6g}") for value in near)
        yield from (value for value in values if control.accepts(value) and value != control.value)
