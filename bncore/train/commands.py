"""What each request does to a run. A new one is a model in `bncore.store.commands` and a row here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from bncore.config.change import Changes, changed, values_at
from bncore.config.errors import SpecError
from bncore.config.model import Spec
from bncore.store.journal import Journal
from bncore.train.control import RunControl


class Interruptible(Protocol):
    """What a request may see of any run and do to it."""

    control: RunControl
    journal: Journal

    @property
    def position(self) -> int:
        """The step whose update comes next."""


class Steerable(Interruptible, Protocol):
    """The same of a run that is trained by a spec."""

    @property
    def spec(self) -> Spec:
        """The settings in force."""

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


R = TypeVar("R")


class Handler(NamedTuple, Generic[R]):
    """What a kind of request does to runs of one class: one row of `HANDLERS`, say."""

    apply: Callable[[R, dict[str, Any]], None]
    replayed: bool
    """Whether a resumed run, a replay or a fork does it again where the journal says so: what left a trace does,
    what only steered the clock (stop, pause) does not."""
    answer: Callable[[R, dict[str, Any]], Answer] = lambda _run, _command: UNCHANGED
    """What it would change; raises `RequestRefused` where it cannot be applied. Changes nothing itself."""


def _answer_set(run: Steerable, command: dict[str, Any]) -> Answer:
    try:
        after = changed(run.spec, command["changes"])
        run.try_change(after)
    except (SpecError, ValueError) as error:
        raise RequestRefused(str(error)) from error
    return Answer(values_at(run.spec, command["changes"]), values_at(after, command["changes"]))


def _stop(run: Interruptible, _: dict[str, Any]) -> None:
    run.control.stopping = True


def _pause(run: Interruptible, _: dict[str, Any]) -> None:
    run.control.paused = True
    run.control.single_steps = 0


def _resume(run: Interruptible, _: dict[str, Any]) -> None:
    run.control.paused = False
    run.control.single_steps = 0


def _step(run: Interruptible, command: dict[str, Any]) -> None:
    run.control.paused = True
    run.control.single_steps += command["count"]


def _note(run: Interruptible, command: dict[str, Any]) -> None:
    run.journal.append_or_verify("note", run.position, text=command["text"])


def refusal(reason: str) -> Handler[object]:
    """The row of a request that no run of a class accepts."""

    def answer(_run: object, _command: dict[str, Any]) -> Answer:
        raise RequestRefused(reason)

    return Handler(lambda _run, _command: None, replayed=False, answer=answer)


INTERRUPTIONS: dict[str, Handler[Interruptible]] = {
    "stop": Handler(_stop, replayed=False),
    "pause": Handler(_pause, replayed=False),
    "resume": Handler(_resume, replayed=False),
    "step": Handler(_step, replayed=False),
    "note": Handler(_note, replayed=True),
}
"""What any run answers."""

HANDLERS: dict[str, Handler[Any]] = {
    "set": Handler(lambda run, command: run.change(command["changes"]), replayed=True, answer=_answer_set),
    "control": refusal(
        "this run is trained by a spec, whose settings are set by their paths, such as optim.lr"
    ),
    **INTERRUPTIONS,
    "checkpoint": Handler(lambda run, _: run.save_checkpoint(requested=True), replayed=True),
    "evaluate": Handler(lambda run, _: run.evaluate(), replayed=True),
    "drop_request": refusal("accepted only when a run is resumed (bnrun resume --drop-request)"),
}
"""Every request by its kind."""

ALLOWED_IN_REPLAY = frozenset({"stop", "pause", "resume", "step", "checkpoint"})
"""Requests that a replay accepts: they leave what the run computes as it is."""
