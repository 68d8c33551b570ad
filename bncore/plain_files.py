"""Plain files only, wherever a directory of others is read: a pipe or a device in a file's place never ends."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO


def open_plain(path: Path) -> BinaryIO:
    """Open a regular file, or a link to one, for reading, without ever waiting for a writer.

    Raises:
        OSError: it cannot be opened, or is a folder, a pipe, a socket or a device (which is not even opened).
    """
    _check(path, path.stat().st_mode)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check(path, os.fstat(descriptor).st_mode)  # something else may have taken its place
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_plain(path: Path) -> bytes:
    """The content of a regular file.

    Raises:
        OSError: as `open_plain`, or it cannot be read.
    """
    with open_plain(path) as file:
        return file.read()


def append_to(path: Path) -> BinaryIO:
    """Open a file to append to, made if it is missing. A pipe that nobody reads is refused, not waited for.

    Raises:
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    os.set_blocking(descriptor, True)
    return os.fdopen(descriptor, "ab")


def exists(path: Path) -> bool:
    """Whether there is something at `path`; False if it is out of reach, as `Path.exists` says from Python 3.14
    on."""
    with suppress(OSError):
        return path.exists()
    return False


def _check(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a plain file", str(path))
