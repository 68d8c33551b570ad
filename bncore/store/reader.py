"""The journal reader: reads the tail first, then fills in the history, and follows what is appended."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from operator import itemgetter
from pathlib import Path
from typing import Any

import orjson

from bncore.plain_files import open_plain
from bncore.store.columns import Columns
from bncore.store.errors import StoreError
from bncore.store.journal import Event, check_schema, event_of
from bncore.store.machine_log import MACHINE, machine_events
from bncore.store.paths import RunDir

TAIL_BYTES = 256 * 1024
MACHINE_TAIL_BYTES = 16 * 1024
HEAD_BYTES = 64 * 1024
BLOCK_BYTES = 1024 * 1024  # larger blocks do not fit the processor's cache: 2 us per event instead of 1.2


class Reader:
    """Follows one run's journal, growing or finished."""

    def __init__(self, run: RunDir, *, ancestors: frozenset[Path] = frozenset()) -> None:
        self.run = run
        self._ancestors = ancestors | {run.path.resolve()}
        self._parent: Reader | None = None
        self._start_read = False  # the start event and the one after it have been seen
        self._head = b""  # the first line
        self.columns = Columns()
        self.gone = False
        """Whether the journal was read before and is missing at present."""
        self._journal = _Lines(TAIL_BYTES)
        self._machine = _Lines(MACHINE_TAIL_BYTES)

    def advance(self, budget_s: float | None = None) -> Columns:
        """Read new lines, then history.

        The first call reads the tail, regardless of the budget. A torn last line is left for a later call. A
        journal that has become shorter is read again from scratch, into new `Columns`.

        Arguments:
            budget_s: seconds for history; at least one block is read if it is positive, none if it is 0. None:
                read all history.

        Raises:
            StoreError: the journal has a newer schema, or cannot be read.
        """
        try:
            with open_plain(self.run.journal_file) as file, _no_garbage_collection():
                self._advance(file.fileno(), budget_s)
                self.gone = False
            self._advance_parent(budget_s)
        except FileNotFoundError:
            self.gone = self._journal.was_read
        except OSError as error:
            raise StoreError(f"{self.run.journal_file}: cannot be read: {error.strerror}") from error
        with suppress(OSError):  # runs of older versions have no such file
            self._advance_machine(budget_s)
        self.columns.complete = self._journal.whole and (self._machine.whole or not self._machine.was_read)
        return self.columns

    def _advance(self, file: int, budget_s: float | None) -> None:
        size = os.fstat(file).st_size
        # Shorter than before (a disk lost lines that were not synced), or another run's journal at the same path.
        if size < self._journal.end or os.pread(file, len(self._head), 0) != self._head:
            self.columns, self._journal = Columns(), _Lines(TAIL_BYTES)
            self._machine = _Lines(MACHINE_TAIL_BYTES)
            self._start_read, self._head = False, b""
        if not self._start_read:
            self._begin(file)
        for block, offset, in_front in self._journal.read(file, size, budget_s):
            self._add(block, offset, in_front=in_front)

    def _advance_machine(self, budget_s: float | None) -> None:
        with open_plain(self.run.machine_file) as file:
            size = os.fstat(file.fileno()).st_size
            if size < self._machine.end:
                self._machine = _Lines(MACHINE_TAIL_BYTES)
                self.columns.forget(MACHINE)
            for block, _, in_front in self._machine.read(file.fileno(), size, budget_s):
                self.columns.add(machine_events(block), in_front=in_front)

    def _begin(self, file: int) -> None:
        """Check the schema on the first line. The first event after the start events tells if this is a fork."""
        block = os.pread(file, HEAD_BYTES, 0)
        lines = block.split(b"\n")[:-1]
        first = event_of(lines[0]) if lines else None
        if first is None:
            return
        check_schema(self.run.journal_file, first)
        self._head = lines[0]
        self.columns.start = first
        for line in lines[1:]:
            event = event_of(line)
            if event is not None and event["type"] == "start":
                continue
            self._start_read = True
            if event is not None and event["type"] == "parent" and isinstance(event.get("run"), str):
                self._adopt(event)
            return
        self._start_read = len(block) == HEAD_BYTES

    def _adopt(self, event: Event) -> None:
        """Also follow the parent, unless it is gone or its ancestry is circular."""
        parent = RunDir(self.run.path / event["run"])
        if parent.path.resolve() in self._ancestors or not parent.journal_file.is_file():
            return
        self._parent = Reader(parent, ancestors=self._ancestors)
        self.columns.parent = (self._parent.columns, event["step"])

    def _advance_parent(self, budget_s: float | None) -> None:
        if self._parent is None or self._parent.columns.complete:
            return
        columns = self._parent.advance(budget_s)
        if self.columns.parent is not None:
            self.columns.parent = (columns, self.columns.parent[1])
        self.columns.forget_series()

    def _add(self, block: bytes, offset: int, *, in_front: bool) -> None:
        lines = block.split(b"\n")[:-1]
        try:
            events = orjson.loads(b"[" + b",".join(lines) + b"]")
            if not _all_valid(events) or len(events) != len(lines):
                raise ValueError
        except (orjson.JSONDecodeError, ValueError):
            events = list(self._one_by_one(lines, offset))
        self.columns.add(events, in_front=in_front)

    def _one_by_one(self, lines: list[bytes], offset: int) -> Iterator[Event]:
        for line in lines:
            event = event_of(line)
            if event is not None:
                yield event
            else:
                self.columns.skipped.append(f"byte {offset}: {line[:60]!r}")
            offset += len(line) + 1


class _Lines:
    """The complete lines of a growing file: its tail first, then appended lines, then its history.

    Arguments:
        tail: number of bytes at the end that the first read covers.
    """

    def __init__(self, tail: int) -> None:
        self.end = 0
        """Byte up to which the file has been read, apart from unread history."""
        self._front: int | None = None  # everything before this byte is unread history
        self._tail = tail

    @property
    def was_read(self) -> bool:
        """Whether the file has been read at all."""
        return self._front is not None

    @property
    def whole(self) -> bool:
        """Whether all history has been read."""
        return self._front == 0

    def read(self, file: int, size: int, budget_s: float | None) -> Iterator[tuple[bytes, int, bool]]:
        """Yield new lines, then history for as long as the budget lasts: each block, its offset, and whether it is
        history."""
        until = None if budget_s is None else time.monotonic() + budget_s
        if self._front is None:
            self._front = self.end = _line_start(file, max(0, size - self._tail), size)
        while self.end < size:
            block = os.pread(file, min(BLOCK_BYTES, size - self.end), self.end)
            whole = block.rfind(b"\n") + 1
            if whole == 0 and len(block) == BLOCK_BYTES:  # longer lines are not events; skip them
                block = os.pread(file, size - self.end, self.end)
                whole = block.find(b"\n") + 1
            if whole == 0:
                break
            yield block[:whole], self.end, False
            self.end += whole
        enough = budget_s is not None and budget_s <= 0
        while self._front > 0 and not enough:
            start = _line_start(file, max(0, self._front - BLOCK_BYTES), self._front)
            yield os.pread(file, self._front - start, start), start, True
            self._front = start
            enough = until is not None and time.monotonic() >= until


def _line_start(file: int, position: int, limit: int) -> int:
    """The first byte after a newline at or after `position`; `position` itself at the file's start."""
    if position == 0:
        return 0
    block = os.pread(file, limit - position + 1, position - 1)
    newline = block[: limit - position].find(b"\n")  # a newline that ends at `limit` does not count
    return position + newline if newline >= 0 else 0


def read(run: RunDir | str | os.PathLike[str]) -> Reader:
    """A reader of a run directory; reads nothing until `advance`."""
    return Reader(run if isinstance(run, RunDir) else RunDir(Path(run)))


def _all_valid(events: list[Any]) -> bool:
    """Whether `is_event` holds for all, checked in few passes because there may be a million events."""
    if set(map(type, events)) - {dict}:
        return False
    try:
        kinds, steps = map(itemgetter("type"), events), map(itemgetter("step"), events)
        return set(map(type, kinds)) <= {str} and set(map(type, steps)) <= {int}
    except KeyError:
        return False


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Disable garbage collection: bulk decoding creates many objects that all stay, so collecting wastes time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


HEAD = 256
"""Number of bytes at the beginning by which a journal is recognized: they include the time the run started."""
_SEARCHED: dict[tuple[Path, bytes], tuple[bytes, int | None]] = {}
"""By journal and text: the journal's beginning, and the offset before which the text is absent; None: found."""


def speaks_of(journal: Path, text: bytes) -> bool:
    """Whether a text occurs in a journal; False if that cannot be read. In a growing journal, only new bytes are
    searched."""
    try:
        with open_plain(journal) as file:
            size, head = os.fstat(file.fileno()).st_size, os.pread(file.fileno(), HEAD, 0)
            prefix, offset = _SEARCHED.get((journal, text), (b"", 0))
            if not prefix or not head.startswith(prefix) or (offset or 0) > size:
                offset = 0
            if offset is None:
                return True
            content = os.pread(file.fileno(), size - offset, offset)
    except OSError:
        return False
    present = text in content
    _SEARCHED[journal, text] = head, None if present else max(0, offset + len(content) - len(text) + 1)
    return present
