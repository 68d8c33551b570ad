"""Reading and writing files so that they are complete or absent."""

from __future__ import annotations

import errno
import os
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from bncore.plain_files import read_plain
from bncore.store.errors import StoreError
from bncore.store.failpoints import failpoint

T = TypeVar("T")


def read_as(kind: TypeAdapter[T], path: Path) -> T | None:
    """Parse a JSON file as `kind`; None if the file is missing or invalid."""
    try:
        return kind.validate_json(read_plain(path), strict=True)
    except (OSError, ValidationError):
        return None


def write_out(path: Path, content: bytes) -> None:
    """Write to a path that a user chose. A regular file is replaced atomically, also at the end of a symbolic
    link; a pipe or a device is written to.

    Raises:
        StoreError: the file system refuses, or the path is a directory.
    """
    try:
        target = path.resolve()
        if target.is_symlink() or (target.exists() and not target.is_file()):
            target.write_bytes(content)
            return
    except (OSError, RuntimeError) as error:  # a loop of links; Python 3.13 returns one of the links instead
        raise StoreError(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}") from error
    replace_file(target, content)


def replace_file(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Replace `path` atomically: a reader sees either the old content or the new, never a mixture.

    Arguments:
        mode: permissions; default: given by the umask.

    Raises:
        StoreError: the file system refuses; `path` is unchanged.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    try:
        temporary.write_bytes(content)
        if mode is not None:
            temporary.chmod(mode)
        failpoint(f"{path.stem}.replace")
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):  # on a read-only file system, unlink fails even if the file does not exist
            temporary.unlink()
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from error


def append_line(file: int, line: bytes) -> None:
    """Append a line to an open file, either whole or not at all.

    Raises:
        OSError: the file system refuses.
    """
    written = os.write(file, line)
    if written < len(line):  # the disk filled up within the line
        os.ftruncate(file, os.fstat(file).st_size - written)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
