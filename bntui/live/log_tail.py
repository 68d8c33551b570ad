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


def read_tail(path: Path, size: int = TAIL) -> LogTail:
    """The whole lines of a log's last `size` bytes; of a longer line its end."""
    try:
        with open_plain(path) as file:
            length = os.fstat(file.fileno()).st_size
            before = max(0, length - size)
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
    return LogTail(path, tuple(lines), before)
