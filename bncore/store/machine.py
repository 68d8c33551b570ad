"""`machine.jsonl`: what a run takes of its machine, a line per heartbeat, beside the journal and not of it.

The journal of a resumed or replayed run is compared event by event; what a machine does is never the same twice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import orjson

from bncore.plain_files import read_plain
from bncore.store.files import append_line, replace_file
from bncore.store.journal import Event

MACHINE = "machine"
"""The table's name, and the type of its events."""
DOUBLES_EVERY = 1000
"""Lines after which only every second heartbeat of those before has one: a week takes some eight thousand."""


class MachineLog:
    """The writer of one run's `machine.jsonl`.

    Opening it cuts a torn last line.

    Arguments:
        path: the file, made with the first line.
        fence: put a copy in the file's place first, as `bncore.store.journal.Journal` does.

    Raises:
        OSError, StoreError: it cannot be read, or not be replaced.
    """

    def __init__(self, path: Path, *, fence: bool = False) -> None:
        self._path = path
        self._file: int | None = None
        content = read_plain(path) if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if content and (fence or len(whole) < len(content)):
            replace_file(path, whole)
        self._lines = whole.count(b"\n")

    @property
    def every(self) -> int:
        """How many heartbeats the next line is of."""
        return int(2 ** (self._lines // DOUBLES_EVERY))

    def append(self, step: int, figures: Mapping[str, float]) -> bool:
        """Write a line; False where the file system refuses, which costs the line."""
        line = orjson.dumps({"t": time.time(), "step": step, **figures}) + b"\n"
        with suppress(OSError):
            if self._file is None:
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            append_line(self._file, line)
            self._lines += 1
            return True
        return False

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)


def machine_events(lines: bytes) -> Iterator[Event]:
    """The records among some lines, as events of the table `MACHINE`; what is none is passed over."""
    for line in lines.splitlines():
        with suppress(orjson.JSONDecodeError):
            record = orjson.loads(line)
            if type(record) is dict and type(record.get("step")) is int:
                yield {**record, "type": MACHINE}
