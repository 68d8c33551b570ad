"""What each request does to a run. A new one is a model in `bncore.store.commands` and a row here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from bncore.config.change import Changes, changed, values_at
from bncore.config.errors import SpecError

if TYPE_CHECKING:
    from bncore.train.trainer import Trainer


class RequestRefused(ValueError):
    """A request that cannot be applied to this run in its present state; the message says why."""


class Answer(NamedTuple):
    """What a request changes, for the journal; both None where it changes no setting."""

    old: Changes | None = None
    new: Changes | None = None


UNCHANGED = Answer()


def _as_it_is(_trainer: Trainer, _command: dict[str, Any]) -> Answer:
    return UNCHANGED


class Handler(NamedTuple):
    """One row of `HANDLERS`."""

    apply: Callable[[Trainer, dict[str, Any]], None]
    again: bool
    """Whether a resumed run, a replay or a fork does it again where the journal says so: what left a trace does,
    what only steered the clock (stop, pause) does not."""
    answer: Callable[[Trainer, dict[str, Any]], Answer] = _as_it_is
    """What it would change; raises `RequestRefused` where it cannot be applied. Changes nothing itself."""


def _answer_set(trainer: Trainer, command: dict[str, Any]) -> Answer:
    try:
        after = changed(trainer.spec, command["changes"])
        trainer.session.try_change(after, trainer.position)
    except (SpecError, ValueError) as error:
        raise RequestRefused(str(error)) from error
    return Answer(values_at(trainer.spec, command["changes"]), values_at(after, command["changes"]))


def _set(trainer: Trainer, command: dict[str, Any]) -> None:
    trainer.change(command["changes"])


def _stop(trainer: Trainer, _: dict[str, Any]) -> None:
    trainer.control.stopping = True


def _pause(trainer: Trainer, _: dict[str, Any]) -> None:
    trainer.control.paused = True
    trainer.control.single_steps = 0


def _resume(trainer: Trainer, _: dict[str, Any]) -> None:
    trainer.control.paused = False
    trainer.control.single_steps = 0


def _step(trainer: Trainer, command: dict[str, Any]) -> None:
    trainer.control.paused = True
    trainer.control.single_steps += command["count"]


def _checkpoint(trainer: Trainer, _: dict[str, Any]) -> None:
    trainer.save_checkpoint(requested=True)


def _evaluate(trainer: Trainer, _: dict[str, Any]) -> None:
    trainer.evaluate()


def _note(trainer: Trainer, command: dict[str, Any]) -> None:
    trainer.journal.append_or_verify("note", trainer.position, text=command["text"])


def _refuse_drop(_trainer: Trainer, _command: dict[str, Any]) -> Answer:
    raise RequestRefused("heard only when a run is resumed (bnrun resume --drop-request)")


def _nothing(_trainer: Trainer, _command: dict[str, Any]) -> None:
    pass


HANDLERS: dict[str, Handler] = {
    "set": Handler(_set, again=True, answer=_answer_set),
    "stop": Handler(_stop, again=False),
    "pause": Handler(_pause, again=False),
    "resume": Handler(_resume, again=False),
    "step": Handler(_step, again=False),
    "checkpoint": Handler(_checkpoint, again=True),
    "evaluate": Handler(_evaluate, again=True),
    "note": Handler(_note, again=True),
    "drop_request": Handler(_nothing, again=False, answer=_refuse_drop),
}
"""Every request by its kind."""

ALLOWED_IN_REPLAY = frozenset({"stop", "pause", "resume", "step", "checkpoint"})
"""What may be asked of a replay: it leaves what the run makes as it is."""
