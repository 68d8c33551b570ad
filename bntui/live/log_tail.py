"""The end of a log, however long the log is, in lines that no terminal obeys."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from bncore.config.errors import escape_control
from bncore.plain_files import open_plain

TAIL = 1 << 18
"""Bytes that are read of a log until a person asks for more."""


@dataclass(frozen=True, slots=True)
class LogTail:
    """The last whole lines of a log."""

    path: Path
    lines: tuple[tuple[int, str], ...] = ()
    """Each with the byte at which it begins."""
    before: int = 0
    """Bytes of the log before them."""
    problem: str = ""
    """Why there are none; escaped."""
    stamp: tuple[int, ...] = ()
    """Changes where the log does, or another part of it is read."""


def read_tail(path: Path, size: int = TAIL, known: LogTail | None = None) -> LogTail:
    """The whole lines of a log's last `size` bytes; of a longer line its end.

    Arguments:
        known: what was read before; it is returned where nothing has changed.
    """
    try:
        with open_plain(path) as file:
            status = os.fstat(file.fileno())
            stamp = (status.st_size, status.st_mtime_ns, status.st_ino, size)
            if known is not None and (known.path, known.stamp) == (path, stamp):
                return known
            before = max(0, status.st_size - size)
            file.seek(before)
            data = file.read(size)
    except FileNotFoundError:
        return LogTail(path, problem=f"no {escape_control(path.name)}")
    except OSError as error:
        return LogTail(path, problem=escape_control(str(error)))
    if before and b"\n" in data[:-1]:
        cut = data.index(b"\n") + 1
        before, data = before + cut, data[cut:]
    lines, begin = [], before
    for line in data.removesuffix(b"\n").split(b"\n") if data else ():
        lines.append((begin, escape_control(line.decode(errors="replace"))))
        begin += len(line) + 1
    return LogTail(path, tuple(lines), before, stamp=stamp)
