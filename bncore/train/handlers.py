"""The effect of each request on a run. To add one, add a model in `bncore.store.commands`, a row here, and one in
`bncore.external.steering.OBSERVED` unless the row is in `INTERRUPTIONS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from bncore.config.change import Changes, changed, values_at
from bncore.config.errors import SpecError
from bncore.config.model import Spec
from bncore.store.journal import Journal
from bncore.train.control import RunControl


class Interruptible(Protocol):
    """What requests can access in any run."""

    control: RunControl
    journal: Journal

    @property
    def position(self) -> int:
        """The step whose update comes next."""


class Steerable(Interruptible, Protocol):
    """What requests can access in a run that is trained by a spec."""

    @property
    def spec(self) -> Spec:
        """The settings in force."""

    def try_change(self, after: Spec) -> None:
        """Raise ValueError if the network does not accept these settings; changes nothing."""

    def change(self, changes: Changes) -> None:
        """Change settings from this step on."""

    def evaluate(self) -> None:
        """Evaluate now."""

    def save_checkpoint(self, *, requested: bool = False) -> None:
        """Write the state before the next update."""


class RequestRefused(ValueError):
    """The request cannot be applied to this run in its present state; the message says why."""


class Answer(NamedTuple):
    """Old and new values of the settings that a request changes, for the journal; None if it changes none."""

    old: Changes | None = None
    new: Changes | None = None


UNCHANGED = Answer()


R = TypeVar("R")


class Handler(NamedTuple, Generic[R]):
    """The effect of one kind of request on one class of runs: a row of `HANDLERS`, for example."""

    apply: Callable[[R, dict[str, Any]], None]
    replayed: bool
    """Whether a resumed run, a replay or a fork applies the request again when it is journaled. True for requests
    with a lasting effect, False for those that only control progress (stop, pause)."""
    answer: Callable[[R, dict[str, Any]], Answer] = lambda _run, _command: UNCHANGED
    """Returns what the request would change, without changing it; raises `RequestRefused` if it cannot apply."""


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
    """The handler of a request that runs of a class never accept."""

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
"""Handlers of the requests that every run accepts."""

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
"""Handlers of all requests to runs trained by a spec, by kind."""

ALLOWED_IN_REPLAY = frozenset({"stop", "pause", "resume", "step", "checkpoint"})
"""Kinds of requests that a replay accepts, because they do not affect what it computes."""
