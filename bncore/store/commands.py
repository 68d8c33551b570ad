"""Requests to runs and sweeps, as a closed set of models; and ``controls.json``, which lists what may be changed
in an observed loop while it trains, with the present values.

To add a request, add a model here, and rows in `bncore.train.handlers.HANDLERS` and
`bncore.external.steering.OBSERVED`.
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
    """Base of the requests to a run. Instances are immutable; unknown fields are refused."""

    kind: str
    at_step: Annotated[int, Field(ge=0, le=2**63 - 1, strict=True)] | None = None
    """The step before whose update the request is applied; default: the next one."""


class Set(Command):
    """Change settings from this step on: norm, noise, learning rate, cadences of probes."""

    kind: Literal["set"] = "set"
    changes: Annotated[dict[str, Any], Field(min_length=1)]
    """New values by dotted path, such as ``{"norm.kind": "l1"}``."""

    @field_validator("changes")
    @classmethod
    def _check_settings(cls, changes: dict[str, Any]) -> dict[str, Any]:
        for name, value in changes.items():
            path = tuple(name.split("."))
            if not settable(path):
                raise ValueError(f"{name!r} cannot change; expected one of {', '.join(settable_fields())}")
            if not accepts(path, value):
                raise ValueError(f"{name} = {value!r}; expected {accepted(path, value)}")
        return changes


class SetControls(Command):
    """Change controls declared by an observed loop (`bncore.config.controls`) from this step on."""

    kind: Literal["control"] = "control"
    changes: Annotated[dict[ControlName, Value], Field(min_length=1)]
    """New values by control name."""


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
    """Run `count` steps, then pause."""

    kind: Literal["step"] = "step"
    count: Annotated[int, Field(ge=1, le=2**63 - 1, strict=True)] = 1


class Checkpoint(Command):
    """Write a checkpoint that is never pruned."""

    kind: Literal["checkpoint"] = "checkpoint"


class Evaluate(Command):
    """Evaluate now, regardless of the cadence."""

    kind: Literal["evaluate"] = "evaluate"


class Note(Command):
    """Add a note to the journal."""

    kind: Literal["note"] = "note"
    text: Annotated[str, Field(max_length=4096)]


class DropRequest(Command):
    """Continue without a change of settings that made the run fail; accepted only when the run is resumed."""

    kind: Literal["drop_request"] = "drop_request"
    request: Annotated[str, Field(min_length=1, max_length=64)]
    """Id of the request to drop."""


AnyCommand = Annotated[
    Set | SetControls | Stop | Pause | Resume | Step | Checkpoint | Evaluate | Note | DropRequest,
    Field(discriminator="kind"),
]
COMMANDS: TypeAdapter[Any] = TypeAdapter(AnyCommand)
"""Requests to a run."""


class StopSweep(_Request):
    """Start no further runs, and request the live ones to stop."""

    kind: Literal["stop"] = "stop"


class CancelQueued(_Request):
    """Cancel a queued run."""

    kind: Literal["drop"] = "drop"
    run: Annotated[str, Field(min_length=1, max_length=255)]
    """Name of the run's directory."""


SWEEP_COMMANDS: TypeAdapter[Any] = TypeAdapter(
    Annotated[StopSweep | CancelQueued, Field(discriminator="kind")]
)
"""Requests to a sweep's supervisor."""


_CONTROLS = TypeAdapter(tuple[Control, ...])


def write_controls(run: RunDir, controls: Sequence[Control]) -> None:
    """Write ``controls.json`` with all declared controls.

    Raises:
        StoreError: the file system refuses.
    """
    table = [control.model_dump(exclude_defaults=True) for control in controls]
    replace_file(run.controls_file, orjson.dumps(table, option=orjson.OPT_INDENT_2))


def read_controls(run: RunDir) -> tuple[Control, ...] | None:
    """The controls of an observed loop; None without a valid ``controls.json``, as in runs trained by a spec."""
    return read_as(_CONTROLS, run.controls_file)


def set_command(controls: Sequence[Control] | None, texts: Sequence[str], at_step: int | None) -> Command:
    """Parse texts such as ``lr=0.05`` into a request.

    Arguments:
        controls: those of an observed loop; None: the run is trained by a spec.

    Raises:
        SpecError: lists every problem with the texts.
    """
    if controls is None:
        return Set(changes=parse_changes(texts), at_step=at_step)
    return SetControls(changes=parse_controls(texts, controls), at_step=at_step)
