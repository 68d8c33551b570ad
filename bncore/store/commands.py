"""Requests: a closed vocabulary of models, for runs and for sweeps; and ``controls.json``, which says what may be
changed in an observed loop while it trains, and what holds there now.

A new one is a model here and a row in `bncore.train.commands.HANDLERS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

from bncore.config.change import parse_changes, settable, settable_fields
from bncore.config.controls import Control, ControlName, Value, parse_controls
from bncore.config.overrides import accepted, accepts
from bncore.store.files import read_as, replace_file
from bncore.store.paths import RunDir


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Command(_Request):
    """Base of the requests to a run: closed and immutable."""

    kind: str
    at_step: Annotated[int, Field(ge=0, le=2**63 - 1, strict=True)] | None = None
    """The step at whose boundary it is to be applied; default: the next one."""


class Set(Command):
    """Change settings from this step on: norm, noise, learning rate, cadences of probes."""

    kind: Literal["set"] = "set"
    changes: Annotated[dict[str, Any], Field(min_length=1)]
    """New values by dotted path, such as ``{"norm.kind": "l1"}``."""

    @field_validator("changes")
    @classmethod
    def _known(cls, changes: dict[str, Any]) -> dict[str, Any]:
        for name, value in changes.items():
            path = tuple(name.split("."))
            if not settable(path):
                raise ValueError(f"{name!r} cannot change; expected one of {', '.join(settable_fields())}")
            if not accepts(path, value):
                raise ValueError(f"{name} = {value!r}; expected {accepted(path, value)}")
        return changes


class SetControls(Command):
    """Change what an observed loop has declared (`bncore.config.controls`) from this step on."""

    kind: Literal["control"] = "control"
    changes: Annotated[dict[ControlName, Value], Field(min_length=1)]
    """New values by name."""


class Stop(Command):
    """Checkpoint and end here; `bnrun resume` continues."""

    kind: Literal["stop"] = "stop"


class Pause(Command):
    """Wait until resumed."""

    kind: Literal["pause"] = "pause"


class Resume(Command):
    """Resume after a pause."""

    kind: Literal["resume"] = "resume"


class Step(Command):
    """Make so many updates, then pause."""

    kind: Literal["step"] = "step"
    count: Annotated[int, Field(ge=1, le=2**63 - 1, strict=True)] = 1


class Checkpoint(Command):
    """Write a checkpoint that is kept."""

    kind: Literal["checkpoint"] = "checkpoint"


class Evaluate(Command):
    """Evaluate now, whatever the cadence."""

    kind: Literal["evaluate"] = "evaluate"


class Note(Command):
    """A remark in the journal."""

    kind: Literal["note"] = "note"
    text: Annotated[str, Field(max_length=4096)]


class DropRequest(Command):
    """Continue without a change of settings that stopped the run; heard when the run is resumed."""

    kind: Literal["drop_request"] = "drop_request"
    request: Annotated[str, Field(min_length=1, max_length=64)]
    """The id of the request."""


AnyCommand = Annotated[
    Set | SetControls | Stop | Pause | Resume | Step | Checkpoint | Evaluate | Note | DropRequest,
    Field(discriminator="kind"),
]
COMMANDS: TypeAdapter[Any] = TypeAdapter(AnyCommand)
"""Requests to a run."""


class StopSweep(_Request):
    """Start nothing more; what runs is requested to stop."""

    kind: Literal["stop"] = "stop"


class CancelQueued(_Request):
    """Cancel a queued run."""

    kind: Literal["drop"] = "drop"
    run: Annotated[str, Field(min_length=1, max_length=255)]
    """The name of its directory."""


SWEEP_COMMANDS: TypeAdapter[Any] = TypeAdapter(
    Annotated[StopSweep | CancelQueued, Field(discriminator="kind")]
)
"""Requests to a sweep's supervisor."""


_CONTROLS = TypeAdapter(tuple[Control, ...])


def write_controls(run: RunDir, controls: Sequence[Control]) -> None:
    """Put all declared controls there.

    Raises:
        StoreError: the file system refuses.
    """
    table = [control.model_dump(exclude_defaults=True) for control in controls]
    replace_file(run.controls_file, orjson.dumps(table, option=orjson.OPT_INDENT_2))


def read_controls(run: RunDir) -> tuple[Control, ...] | None:
    """The controls of an observed loop; None where there are none to be had, as of every run of our own."""
    return read_as(_CONTROLS, run.controls_file)


def set_command(controls: Sequence[Control] | None, texts: Sequence[str], at_step: int | None) -> Command:
    """The request that texts such as ``lr=0.05`` mean for a run with these controls, or for one of our own.

    Raises:
        SpecError: every problem with them.
    """
    if controls is None:
        return Set(changes=parse_changes(texts), at_step=at_step)
    return SetControls(changes=parse_controls(texts, controls), at_step=at_step)
