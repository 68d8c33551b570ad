"""Request files: one file per request in an inbox, put there by anyone with access, taken by the single writer."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import time
import uuid
from collections.abc import Callable, Container
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError

from bncore.config.errors import escape_control, own_words
from bncore.plain_files import read_plain
from bncore.store.commands import COMMANDS, SWEEP_COMMANDS, Pause, Step, Stop
from bncore.store.errors import StoreError
from bncore.store.files import replace_file
from bncore.store.paths import OwnedDir, RunDir, SweepDir

LARGEST = 65536
"""Maximum size of a request file, in bytes."""

_newest = 0


@dataclass(frozen=True, slots=True)
class Request:
    """A request file with its parsed command."""

    id: str
    author: str
    command: Any  # an `AnyCommand`, or a request to a sweep
    path: Path


def send_request(directory: OwnedDir, command: BaseModel) -> str:
    """Put a request into the inbox of a run or a sweep; returns its id.

    Raises:
        StoreError: the inbox cannot be written.
    """
    ident = uuid.uuid4().hex
    content = {"id": ident, "author": user_name(os.getuid()), "command": command.model_dump(mode="json")}
    path = directory.inbox / f"{_number():020d}-{ident}.json"
    replace_file(path, orjson.dumps(content), mode=0o644)  # despite the umask: the run's owner must read it
    return ident


def take_back(directory: OwnedDir, ident: str) -> None:
    """Remove an unanswered request if it is still in the inbox; file system errors are ignored."""
    for request in waiting(directory):
        if request.id == ident:
            with suppress(OSError):
                request.path.unlink(missing_ok=True)


def pending(
    directory: OwnedDir, *, seen: Container[str] = (), refused: Callable[[str], object] = lambda _: None
) -> list[Request]:
    """The requests waiting in the inbox, in order; to be called by its single writer only.

    Invalid files and files from unauthorized users are moved to ``rejected/``, each with its reason in a file
    ``<its name>.reason`` next to it. Files that cannot be moved (a read-only inbox) are skipped.

    Arguments:
        seen: names of files not to read again.
        refused: called with a message for each file set aside.
    """
    requests = []
    for path in _in_order(directory.inbox, seen):
        try:
            request = _read(path, _commands(directory))
            if not may_ask(path.stat().st_uid, directory.inbox):
                raise ValueError(f"from {request.author}, who is neither the owner nor in the inbox's group")
            requests.append(request)
        except FileNotFoundError:  # just withdrawn, or taken by the writer
            continue
        except (OSError, ValueError) as error:
            if _set_aside(path, str(error)):
                refused(escape_control(f"{path.name} set aside: {error}"))
    return requests


def waiting(directory: OwnedDir) -> list[Request]:
    """The requests waiting in the inbox, in order; read-only, so anyone may call it."""
    requests = []
    for path in sorted(_entries(directory.inbox)):
        with suppress(OSError, ValueError):
            requests.append(_read(path, _commands(directory)))
    return requests


def halting(run: RunDir) -> list[str]:
    """Ids of waiting requests that would stop or pause a run at its next step: they were meant for a process that
    has ended, not for the next one."""
    return [
        request.id
        for request in waiting(run)
        if isinstance(request.command, Stop | Pause | Step) and request.command.at_step is None
    ]


def may_ask(user: int, inbox: Path) -> bool:
    """Whether requests in files of this user are accepted: those of the run's owner and of root, and of members of
    the inbox's group if the inbox is group-writable."""
    folder = inbox.stat()
    if user in (0, os.geteuid(), folder.st_uid):
        return True
    if not folder.st_mode & stat.S_IWGRP:
        return False
    try:
        person = pwd.getpwuid(user)
        return person.pw_gid == folder.st_gid or person.pw_name in grp.getgrgid(folder.st_gid).gr_mem
    except KeyError:  # a user or a group unknown on this host
        return False


def user_name(user: int) -> str:
    """The name of a user; the numeric id if this host has no name for it."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _number() -> int:
    """Nanoseconds since 1970, strictly increasing within this process, so that names sort in order of sending."""
    global _newest  # noqa: PLW0603 - requests are ordered within the process
    _newest = max(time.time_ns(), _newest + 1)
    return _newest


def _commands(directory: OwnedDir) -> TypeAdapter[Any]:
    return SWEEP_COMMANDS if isinstance(directory, SweepDir) else COMMANDS


def _in_order(inbox: Path, seen: Container[str]) -> list[Path]:
    """New files, in order. A directory scan may miss a file that appears during it and still find a later one, so
    a second scan completes the first, up to the last file found."""
    first = [path for path in _entries(inbox) if path.name not in seen]
    if not first:
        return []
    last = max(first)
    return sorted(path for path in _entries(inbox) if path <= last and path.name not in seen)


def _read(path: Path, commands: TypeAdapter[Any]) -> Request:
    if path.is_symlink() or not path.is_file():
        if not path.is_symlink() and not path.exists():
            raise FileNotFoundError(path)
        raise ValueError("not a plain file")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path.stat().st_size} bytes; a request has at most {LARGEST}")
    table = orjson.loads(read_plain(path))
    if not isinstance(table, dict) or not isinstance(ident := table.get("id"), str):
        raise ValueError("not an object with an id")
    try:
        command = commands.validate_python(table.get("command"))
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        reasons = [f"{'.'.join(map(str, ('command', *e['loc'])))}: {own_words(e['msg'])}" for e in wrong]
        raise ValueError("; ".join(reasons)) from error
    return Request(ident, user_name(path.stat().st_uid), command, path)


def _entries(inbox: Path) -> list[Path]:
    try:
        with os.scandir(inbox) as entries:
            return [Path(e.path) for e in entries if e.name.endswith(".json") and not e.name.startswith(".")]
    except OSError:
        return []


def _set_aside(path: Path, reason: str) -> bool:
    rejected = path.parent / "rejected"
    with suppress(OSError, StoreError):  # no permission, just taken by the run, or the disk is full
        rejected.mkdir(exist_ok=True)
        path.replace(rejected / path.name)
        replace_file(rejected / f"{path.name}.reason", f"{escape_control(reason)}\n".encode())
        return True
    return False
