"""What would be sent, and to whom: shown before it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from bncore.config.change import changed, parse_changes
from bncore.config.errors import Problem, SpecError
from bncore.follow.request_view import summary
from bncore.store.requests import Drop, Set, Stop, StopSweep
from bntui.steering.verbs import VERBS, WORKING, Verb, words

if TYPE_CHECKING:
    from pathlib import Path

    from bncore.follow.run_view import RunView
    from bncore.store.paths import OwnedDir, SweepDir
    from bntui.live.snapshot import SweepView


@dataclass(frozen=True)
class Proposal:
    """Ready to be sent."""

    sentence: str
    """Such as ``norm l1``, harmless."""
    asked: tuple[RunView, ...]
    passed: tuple[RunView, ...]
    """Runs that were meant but are in no state to be asked."""
    at: int | None
    requests: tuple[tuple[OwnedDir, BaseModel], ...] = ()
    """Inboxes, and what goes into each."""
    commands: tuple[tuple[str, ...], ...] = ()
    """Arguments of `bnrun`, for what no request can do."""


def propose(
    name: str, text: str, targets: Sequence[RunView], sweeps: Sequence[SweepView] = (), *, whole: bool = False
) -> Proposal:
    """What a verb of `VERBS` and the typed text come to for the runs meant.

    Arguments:
        sweeps: what supervises them.
        whole: whether the runs are meant as a whole sweep.

    Raises:
        SpecError: what is wrong with the text, for any of the runs; or nobody can be asked.
    """
    verb = VERBS[name]
    typed = words(text)
    asked = tuple(view for view in targets if view.state in verb.asks)
    passed = tuple(view for view in targets if view not in asked)
    if not asked:
        states = ", ".join(sorted({view.state for view in targets})) or "no run selected"
        raise SpecError([Problem(verb.title, "", message=f"nobody to ask ({states})")])
    if verb.command is None:
        return _command_lines(name, typed, asked, passed)
    try:
        command = verb.command(typed)
    except ValidationError as error:
        raise SpecError([Problem(verb.title, "", message=error.errors()[0]["msg"])]) from error
    if isinstance(command, Set):
        _check(command.changes, asked)
    requests: tuple[tuple[OwnedDir, BaseModel], ...] = tuple((view.run, command) for view in asked)
    commands: tuple[tuple[str, ...], ...] = ()
    if isinstance(command, Stop):
        commands = tuple(("stop", str(view.run.path)) for view in asked if _waits_in_slurm(view, sweeps))
        watched = {view.run.path for view in (*asked, *passed)}
        requests = _stops(command, asked, sweeps, watched if whole else set(), otherwise=bool(commands))
    return Proposal(summary(command.model_dump(mode="json")), asked, passed, typed[1], requests, commands)


def offered(name: str, view: RunView | None) -> tuple[str, ...]:
    """Texts to choose among for a verb, the likeliest first."""
    verb: Verb = VERBS[name]
    return verb.options(view.spec if view else None)


def _check(changes: dict[str, Any], asked: Sequence[RunView]) -> None:
    """Foresee what a run would reject: values that do not fit the rest of its spec."""
    for view in asked:
        if view.spec is not None:
            try:
                changed(view.spec, changes, view.name)
            except SpecError as error:
                raise SpecError(error.problems[:1]) from error


def _waits_in_slurm(view: RunView, sweeps: Sequence[SweepView]) -> bool:
    """Whether the run is a task that nobody but Slurm can leave out: `bnrun stop` cancels it."""
    from bncore.launch.slurm.sweep import read_record

    if view.state != "queued" or view.run.path.parent in _supervised(sweeps):
        return False
    record = read_record(view.run.sweep)
    return record is not None and record.task_of(view.run) is not None


def _supervised(sweeps: Sequence[SweepView]) -> set[Path]:
    return {sweep.sweep.path for sweep in sweeps if sweep.state in WORKING}


def _stops(
    command: Stop,
    asked: Sequence[RunView],
    sweeps: Sequence[SweepView],
    all_of: set[Path],
    *,
    otherwise: bool,
) -> tuple[tuple[OwnedDir, BaseModel], ...]:
    """A run at work is asked itself; a queued one is left out by its sweep's supervisor, which, where the whole
    sweep is to stop, asks those at work too: asked twice, a run would be stopped again when it is resumed.

    Arguments:
        all_of: runs that are all meant; a sweep is stopped as a whole where none of its runs is missing there.
        otherwise: whether there is something to do besides.
    """
    alive = _supervised(sweeps)
    working = [(view.run, command) for view in asked if view.state in WORKING]
    queued = [view.run for view in asked if view.state == "queued" and view.run.path.parent in alive]
    owners: dict[SweepDir, None] = {}
    if command.at_step is None:
        whole = (run.sweep for run in queued if all(one.path in all_of for one in run.sweep.runs()))
        owners = dict.fromkeys(whole)
    theirs = {view.run for view in asked if view.run.sweep in owners and view.parent is None}  # forks are not
    left_out = ((run.sweep, Drop(run=run.path.name)) for run in queued if run.sweep not in owners)
    found = (
        *((sweep, StopSweep()) for sweep in owners),
        *((held, stop) for held, stop in working if held not in theirs),
        *left_out,
    )
    if not found and not otherwise:
        raise SpecError([Problem("stop", "", message="nobody supervises the queued runs")])
    return found


def _command_lines(
    name: str, typed: tuple[list[str], int | None], asked: tuple[RunView, ...], passed: tuple[RunView, ...]
) -> Proposal:
    settings, at = typed
    if name == "restart":
        if settings or at is not None:
            raise SpecError([Problem("restart", "", " ".join(settings), "nothing")])
        lines = [("resume", str(view.run.path), "--detach") for view in asked]
        return Proposal("restart where it was", asked, passed, None, commands=tuple(lines))
    changes = parse_changes(settings, "fork")
    _check(changes, asked)
    when = () if at is None else ("--at", str(at))
    lines = [("fork", str(view.run.path), *when, "--detach", *settings) for view in asked]
    said = summary({"kind": "set", "changes": changes}) if changes else "no change"
    return Proposal(f"fork with {said}", asked, passed, at, commands=tuple(lines))
