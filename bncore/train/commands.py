"""What each request does to a run. A new one is a model in `bncore.store.requests` and a row here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from bncore.train.trainer import Trainer


class Handler(NamedTuple):
    """One row of `HANDLERS`."""

    apply: Callable[[Trainer, dict[str, Any]], None]
    again: bool
    """Whether a resumed run does it again where its journal says so: what left a trace does, what only steered
    the clock (stop, pause) does not."""


def _stop(trainer: Trainer, _: dict[str, Any]) -> None:
    trainer.control.stopping = True


def _pause(trainer: Trainer, _: dict[str, Any]) -> None:
    trainer.control.paused = True
    trainer.control.single_steps = 0


def _resume(trainer: Trainer, _: dict[str, Any]) -> None:
    trainer.control.paused = False


def _step(trainer: Trainer, command: dict[str, Any]) -> None:
    trainer.control.paused = True
    trainer.control.single_steps += command["count"]


def _checkpoint(trainer: Trainer, _: dict[str, Any]) -> None:
    trainer.save_checkpoint(requested=True)


def _note(trainer: Trainer, command: dict[str, Any]) -> None:
    trainer.journal.remake("note", trainer.position, text=command["text"])


HANDLERS: dict[str, Handler] = {
    "stop": Handler(_stop, again=False),
    "pause": Handler(_pause, again=False),
    "resume": Handler(_resume, again=False),
    "step": Handler(_step, again=False),
    "checkpoint": Handler(_checkpoint, again=True),
    "note": Handler(_note, again=True),
}
"""Every request by its kind."""
