"""`machine.jsonl`: a run's use of its machine, one line per heartbeat, kept separate from the journal.

The journal of a resumed or replayed run is compared event by event, whereas machine figures never repeat.
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
"""Name of the table, and type of its events."""
DOUBLES_EVERY = 1000
"""Number of lines after which the interval between lines doubles, in heartbeats: a week has about 8000 lines."""


class MachineLog:
    """The writer of one run's `machine.jsonl`.

    Opening truncates a torn last line.

    Arguments:
        path: the file, created with the first line.
        fence: first replace the file with a copy, as `bncore.store.journal.Journal` does.

    Raises:
        OSError, StoreError: it cannot be read or replaced.
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
        """Number of heartbeats that the next line covers."""
        return int(2 ** (self._lines // DOUBLES_EVERY))

    def append(self, step: int, figures: Mapping[str, float]) -> bool:
        """Write a line; False if the file system refuses, in which case only this line is lost."""
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
    """Parse lines into events of the table `MACHINE`, skipping invalid ones."""
    for line in lines.splitlines():
        with suppress(orjson.JSONDecodeError):
            record = orjson.loads(line)
            if type(record) is dict and type(record.get("step")) is int:
                yield {**record, "type": MACHINE}
