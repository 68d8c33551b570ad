"""What each request does to a run. A new one is a model in `bncore.store.commands` and a row here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from bncore.config.change import Changes, changed, values_at
from bncore.config.errors import SpecError
from bncore.config.model import Spec
from bncore.store.journal import Journal
from bncore.train.control import RunControl


class Steerable(Protocol):
    """What a request may see of a run and do to it."""

    control: RunControl
    journal: Journal

    @property
    def spec(self) -> Spec:
        """The settings in force."""

    @property
    def position(self) -> int:
        """The step whose update comes next."""

    def try_change(self, after: Spec) -> None:
        """Raise ValueError where the network cannot take these settings; nothing is changed."""

    def change(self, changes: Changes) -> None:
        """Put settings in force from this step on."""

    def evaluate(self) -> None:
        """Evaluate now."""

    def save_checkpoint(self, *, requested: bool = False) -> None:
        """Write the state before the next update."""


class RequestRefused(ValueError):
    """A request that cannot be applied to this run in its present state; the message says why."""


class Answer(NamedTuple):
    """What a request changes, for the journal; both None where it changes no setting."""

    old: Changes | None = None
    new: Changes | None = None


UNCHANGED = Answer()


class Handler(NamedTuple):
    """One row of `HANDLERS`."""

    apply: Callable[[Steerable, dict[str, Any]], None]
    replayed: bool
    """Whether a resumed run, a replay or a fork does it again where the journal says so: what left a trace does,
    what only steered the clock (stop, pause) does not."""
    answer: Callable[[Steerable, dict[str, Any]], Answer] = lambda _run, _command: UNCHANGED
    """What it would change; raises `RequestRefused` where it cannot be applied. Changes nothing itself."""


def _answer_set(run: Steerable, command: dict[str, Any]) -> Answer:
    try:
        after = changed(run.spec, command["changes"])
        run.try_change(after)
    except (SpecError, ValueError) as error:
        raise RequestRefused(str(error)) from error
    return Answer(values_at(run.spec, command["changes"]), values_at(after, command["changes"]))


def _stop(run: Steerable, _: dict[str, Any]) -> None:
    run.control.stopping = True


def _pause(run: Steerable, _: dict[str, Any]) -> None:
    run.control.paused = True
    run.control.single_steps = 0


def _resume(run: Steerable, _: dict[str, Any]) -> None:
    run.control.paused = False
    run.control.single_steps = 0


def _step(run: Steerable, command: dict[str, Any]) -> None:
    run.control.paused = True
    run.control.single_steps += command["count"]


def _note(run: Steerable, command: dict[str, Any]) -> None:
    run.journal.append_or_verify("note", run.position, text=command["text"])


def _refuse_drop(_run: Steerable, _command: dict[str, Any]) -> Answer:
    raise RequestRefused("heard only when a run is resumed (bnrun resume --drop-request)")


HANDLERS: dict[str, Handler] = {
    "set": Handler(lambda run, command: run.change(command["changes"]), replayed=True, answer=_answer_set),
    "stop": Handler(_stop, replayed=False),
    "pause": Handler(_pause, replayed=False),
    "resume": Handler(_resume, replayed=False),
    "step": Handler(_step, replayed=False),
    "checkpoint": Handler(lambda run, _: run.save_checkpoint(requested=True), replayed=True),
    "evaluate": Handler(lambda run, _: run.evaluate(), replayed=True),
    "note": Handler(_note, replayed=True),
    "drop_request": Handler(lambda _run, _command: None, replayed=False, answer=_refuse_drop),
}
"""Every request by its kind."""

ALLOWED_IN_REPLAY = frozenset({"stop", "pause", "resume", "step", "checkpoint"})
"""Requests that a replay accepts: they leave what the run computes as it is."""
