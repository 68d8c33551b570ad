"""`set`, `pause`, `step`, `stop`, `checkpoint`, `evaluate`, `note`: requests to live runs, and their answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bncore.config.change import settable_fields, values_at
from bncore.config.controls import show_value
from bncore.config.errors import escape_control, shown
from bncore.config.fields import accepted_at
from bncore.follow.run_view import RunView, view_runs
from bncore.store.commands import (
    CancelQueued,
    Checkpoint,
    Command,
    Evaluate,
    Note,
    Pause,
    Set,
    Step,
    Stop,
    StopSweep,
    read_controls,
    set_command,
)
from bncore.store.owner import read_owner
from bncore.store.paths import RunDir, SweepDir
from bncore.store.reader import read
from bncore.store.requests import send_request, take_back
from bncore.store.status import LIVE, Observer, read_status
from bntui.cli.exit_codes import ExitCode
from bntui.cli.options import Names, Root, Run, complete_run, counted, fail, refuse, say
from bntui.cli.select_runs import Where, in_words, places_named, runs_named, runs_of
from bntui.cli.slurm import cancel, waiting_tasks
from bntui.cli.tables import print_table

MOST = 2**63 - 1
VERB = {"control": "set"}
"""Display names of request kinds, where they differ from the kind."""


def _at_least(least: int) -> Callable[[int | None], int | None]:
    """Callback that refuses numbers a journal cannot store; a Typer range would show its limits in the help."""

    def check(number: int | None) -> int | None:
        if number is not None and not least <= number <= MOST:
            raise typer.BadParameter(f"{number}; expected N >= {least}, at most {MOST}")
        return number

    return check


AtStep = Annotated[
    int | None,
    typer.Option(
        "--at-step", metavar="N", callback=_at_least(0), help="Apply at step N >= 0 instead of the next."
    ),
]
Steps = Annotated[
    int, typer.Option("--count", metavar="N", callback=_at_least(1), help="Number of steps, N >= 1.")
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the answer; exit 3 if there is none.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0, help="Seconds to wait for the answer.")]
Changes = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN path=value...",
        help="A run or a sweep (none with --where), then noise=on norm=l1 lr=0.05 probes.ics.every=50 ...; "
        "without any: list what can be set.",
        autocompletion=complete_run,
    ),
]


def set_(
    words: Changes,
    at_step: AtStep = None,
    wait: Wait = False,
    timeout: Timeout = 60.0,
    where: Where = None,
    root: Root = None,
) -> None:
    """Change settings of a live run, or of every run of a sweep.

    Norm, noise, learning rate and cadences can be changed, and the controls of an observed loop. Queued runs apply
    it when they start."""
    names, changes = ([], words) if where is not None and "=" in words[0] else (words[:1], words[1:])
    runs = runs_named(names, root, where, announce=bool(changes))
    if changes:
        commands = {run: set_command(read_controls(run), changes, at_step) for run in runs}
        _send_to(commands, in_words(names, where), wait=wait, timeout=timeout)
    else:
        _list_settings(runs)


def _list_settings(runs: list[RunDir]) -> None:
    """Print the available settings with their current and accepted values."""
    rows = []
    for view in view_runs(runs, settings=True):
        if view.controls is not None:
            rows += [(view.run.name, c.name, show_value(c.value), c.accepted) for c in view.controls]
        elif view.spec is not None:
            values = values_at(view.spec, settable_fields())
            accepted = {path: accepted_at(tuple(path.split("."))) for path in values}
            rows += [
                (view.run.name, path, show_value(value), accepted[path]) for path, value in values.items()
            ]
    print_table(("run", "setting", "value", "accepted"), rows)


def _sends(kind: type[Pause | Checkpoint | Evaluate], words: str) -> Callable[..., None]:
    """A command without arguments except the step; `words` are its help."""

    def command(
        names: Names = None,
        at_step: AtStep = None,
        wait: Wait = False,
        where: Where = None,
        root: Root = None,
    ) -> None:
        _send(names, root, where, kind(at_step=at_step), wait=wait)

    command.__doc__ = words
    return command


pause = _sends(Pause, "Pause live runs, or every run of sweeps.")
checkpoint = _sends(Checkpoint, "Save a checkpoint of live runs.\n\nIt is kept when older ones are removed.")
evaluate = _sends(Evaluate, "Evaluate live runs now.\n\nThe regular evaluations are unaffected.")


def step(
    names: Names = None,
    count: Steps = 1,
    wait: Wait = False,
    where: Where = None,
    root: Root = None,
) -> None:
    """Run a number of steps, then pause."""
    _send(names, root, where, Step(count=count), wait=wait)


def note(
    name: Run,
    text: Annotated[str | None, typer.Argument(help="Note text (with --where: RUN may be left out).")] = None,
    at_step: AtStep = None,
    wait: Wait = False,
    where: Where = None,
    root: Root = None,
) -> None:
    """Add a note to the journal of a run or of a sweep's runs."""
    names = [name]
    if text is None and where is not None:
        names, text = [], name
    if text is None or not text.strip():
        refuse("text", "missing; expected the note's text")
    try:
        text.encode()
    except UnicodeEncodeError:
        refuse("text", f"{text!a}; expected text in UTF-8")
    if len(text) > 4096:
        refuse("text", f"{len(text)} characters; expected at most 4096")
    _send(names, root, where, Note(text=text, at_step=at_step), wait=wait)


def stop(
    names: Names = None, at_step: AtStep = None, wait: Wait = False, where: Where = None, root: Root = None
) -> None:
    """Checkpoint and end runs; cancel queued ones.

    `bnrun resume` restarts them."""
    places = places_named(names, root, where, announce=True)
    runs = {one: runs_of(one) for one in places}
    left = [run for one in places if not _cancel_queued(one, runs[one], at_step) for run in runs[one]]
    if left:
        stop_them = dict.fromkeys(left, Stop(at_step=at_step))
        _send_to(stop_them, in_words(names, where), wait=wait)


def _cancel_queued(place: RunDir | SweepDir, runs: list[RunDir], at_step: int | None) -> bool:
    """Cancel queued runs; return True if this was done and no live run is left to stop."""
    seen = view_runs(runs)
    queued = [o.run for o in seen if o.state == "queued"]
    sweep = place.sweep if isinstance(place, RunDir) else place
    tasks = waiting_tasks(seen)
    if tasks and at_step is None:
        cancel(tasks)
    elif queued and Observer().supervised(sweep) and isinstance(place, RunDir):
        send_request(sweep, CancelQueued(run=place.path.name))
        say(f"{place.name}: request sent: cancel queued run")
    elif queued and Observer().supervised(sweep) and at_step is None:
        send_request(sweep, StopSweep())
        say(f"{sweep.name}: request sent: cancel queued runs")
    else:
        return False
    return not any(o.state in LIVE for o in seen)


def _send(
    names: Sequence[str] | None,
    root: Path | None,
    where: str | None,
    command: Command,
    *,
    wait: bool,
) -> None:
    runs = runs_named(names, root, where, announce=True)
    _send_to(dict.fromkeys(runs, command), in_words(names, where), wait=wait)


def _send_to(commands: Mapping[RunDir, Command], called: str, *, wait: bool, timeout: float = 60.0) -> None:
    """Send each live run its request, and changes and notes to queued runs as well; exit 3 if there are none.

    Arguments:
        commands: requests of one kind, by run.
        called: the selection as written on the command line.
        wait: wait for answers, at most `timeout` seconds.
    """
    seen, command = view_runs(commands), next(iter(commands.values()))
    live = [o.run for o in seen if o.state in LIVE]
    later = [o.run for o in seen if o.state == "queued" and isinstance(command, Set | Note)]
    if not live and not later:
        fail(f"{called}: no run can accept this ({_states(seen)})", ExitCode.NO_RUN)
    _refuse_beyond_the_end(command, seen)
    request_ids = {run: send_request(run, commands[run]) for run in live}
    for run in live:
        say(f"{run.name}: request sent: {VERB.get(command.kind, command.kind)}")
    for run in later:
        send_request(run, commands[run])
        say(f"{run.name}: queued; request sent: {command.kind}, applied when it starts")
    passed = [view for view in seen if view.run not in (*live, *later)]
    if passed:
        say(f"not sent to {counted(len(passed), 'run')}: {_states(passed)}")
    if wait:
        await_answers(request_ids, seconds=timeout, stopping=command.kind == "stop")


def _refuse_beyond_the_end(command: Command, seen: list[RunView]) -> None:
    """Refuse a step that a run will never reach, before anything is sent to any run."""
    at: int | None = getattr(command, "at_step", None)
    if at is None:
        return
    for overview in seen:
        steps = overview.status.steps if overview.status else 0
        if steps and at >= steps and overview.state in ("running", "paused", "queued"):
            expected = f"{overview.run.name} has {steps} steps; expected at most {steps - 1}"
            refuse("--at-step", f"{at}: {expected}")


def _states(seen: list[RunView]) -> str:
    states = [f"{escape_control(o.run.name)} {o.state}" for o in seen[:4]]
    return ", ".join(states) + (" ..." if len(seen) > 4 else "")


POLL_EVERY_S = 0.1


def await_answers(request_ids: dict[RunDir, str], *, seconds: float, stopping: bool = False) -> None:
    """Print the answer to each request as it arrives; exit 3 if one is late or missing, 2 if one is a rejection.

    Arguments:
        request_ids: ids of the requests, by run.
        seconds: maximum time to wait for all answers.
        stopping: the requests are stop requests. A run that ends for another reason in the meantime counts as
            answered, and its request is withdrawn.
    """
    readers = {run: read(run) for run in request_ids}
    left, silent, refused, until = dict(request_ids), [], False, time.monotonic() + seconds
    while left:
        for run, ident in list(left.items()):
            owner = read_owner(run)  # read before polling, so that a last answer is not missed
            over = owner is None or owner.known_dead() or time.monotonic() >= until
            answer = _find(readers[run].advance(budget_s=0).events, ident)
            if answer is not None:
                typer.echo(f"{run.name}: {_answer(answer)}")
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


def _answer(event: dict[str, Any]) -> str:
    """``applied at step 120: norm.kind 'batch' -> 'l1'``, or the reason for the rejection."""
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
    """``stopped at step 120`` for a run that ended by itself or on another request; else empty."""
    status = read_status(run)
    ended = status is not None and status.state not in {*LIVE, "queued"}
    return f"{status.state} at step {status.step:,}" if status is not None and ended else ""
