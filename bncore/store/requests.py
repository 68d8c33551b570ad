"""Requests: one file each in a run's inbox, from whoever may write there, taken by the run's one writer."""

from __future__ import annotations

import os
import pwd
import re
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from bncore.spec.errors import printable
from bncore.store.errors import StoreError
from bncore.store.files import replace_file
from bncore.store.paths import RunDir

_NUMBERED = re.compile(r"([0-9]{9})-")

LARGEST = 65536
"""Bytes; a larger file is no request."""


class Command(BaseModel):
    """Base of what may be asked of a run: closed and immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    at_step: Annotated[int, Field(ge=0, strict=True)] | None = None
    """The step at whose boundary it is to be applied; default: the next one."""


class Stop(Command):
    """Checkpoint and end here; `bnrun resume` goes on."""

    kind: Literal["stop"] = "stop"


class Pause(Command):
    """Wait until resumed."""

    kind: Literal["pause"] = "pause"


class Resume(Command):
    """Go on after a pause."""

    kind: Literal["resume"] = "resume"


class Step(Command):
    """Make so many updates, then pause."""

    kind: Literal["step"] = "step"
    count: Annotated[int, Field(ge=1, strict=True)] = 1


class Checkpoint(Command):
    """Write a checkpoint that is kept."""

    kind: Literal["checkpoint"] = "checkpoint"


class Note(Command):
    """A remark in the journal."""

    kind: Literal["note"] = "note"
    text: Annotated[str, Field(max_length=4096)]


AnyCommand = Annotated[Stop | Pause | Resume | Step | Checkpoint | Note, Field(discriminator="kind")]
COMMANDS: TypeAdapter[Any] = TypeAdapter(AnyCommand)


@dataclass(frozen=True, slots=True)
class Request:
    """A command somebody sent."""

    id: str
    author: str
    command: Any  # one of AnyCommand
    path: Path


def drop(run: RunDir, command: Command) -> str:
    """Put a request into the inbox of `run`; its id.

    Raises:
        StoreError: the inbox cannot be written.
    """
    ident = uuid.uuid4().hex
    sequence = f"{_next_number(run.inbox):09d}"
    content = {"id": ident, "author": _name_of(os.getuid()), "command": command.model_dump(mode="json")}
    replace_file(run.inbox / f"{sequence}-{ident}.json", orjson.dumps(content))
    return ident


def pending(run: RunDir) -> list[Request]:
    """The requests waiting in the inbox, in their order; whatever is none is set aside into ``rejected/``, and
    why into a file ``<its name>.reason`` beside it.

    What cannot be set aside (an inbox that may only be read) is passed over.
    """
    found = []
    for path in sorted(_entries(run.inbox)):
        try:
            found.append(_read(path))
        except (OSError, ValueError) as error:
            _set_aside(path, str(error))
    return found


def _read(path: Path) -> Request:
    if path.is_symlink() or not path.is_file():
        raise ValueError("not a plain file")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path.stat().st_size} bytes; a request has at most {LARGEST}")
    table = orjson.loads(path.read_bytes())
    if not isinstance(table, dict) or not isinstance(ident := table.get("id"), str):
        raise ValueError("not an object with an id")
    try:
        command = COMMANDS.validate_python(table.get("command"))
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        raise ValueError(
            "; ".join(f"{'.'.join(map(str, ('command', *e['loc'])))}: {e['msg']}" for e in wrong)
        ) from error
    return Request(ident, _name_of(path.stat().st_uid), command, path)


def _name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:  # a user of another host, or of a container
        return str(user)


def _entries(inbox: Path) -> list[Path]:
    try:
        with os.scandir(inbox) as entries:
            return [Path(e.path) for e in entries if e.name.endswith(".json") and not e.name.startswith(".")]
    except OSError:
        return []


def _set_aside(path: Path, reason: str) -> None:
    rejected = path.parent / "rejected"
    with suppress(OSError, StoreError):  # not ours to move, taken by the run meanwhile, or the disk is full
        rejected.mkdir(exist_ok=True)
        path.replace(rejected / path.name)
        replace_file(rejected / f"{path.name}.reason", f"{printable(reason)}\n".encode())


def _next_number(inbox: Path) -> int:
    numbers = [int(found[1]) for p in _entries(inbox) if (found := _NUMBERED.match(p.name))]
    return min(
        max(numbers, default=0) + 1, 10**9 - 1
    )  # names sort as numbers as long as they are equally long
