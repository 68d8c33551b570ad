"""The journal: append-only, one event a line, the only truth about what happened.

A line is written by one `write` and becomes part of the journal with its newline. SIGKILL loses nothing that
was written, so lines are not synced one by one; `sync` is called before a checkpoint, which relies on them.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from bncore.plain_files import read_plain
from bncore.store.errors import AlreadyOwnedError, Divergence, StoreError
from bncore.store.failpoints import armed, failpoint
from bncore.store.files import append_line, replace_file
from bncore.store.log import EventLog

SCHEMA = 1
"""Version of the events' vocabulary, on the journal's first line."""

REPLAYED_EVENTS = frozenset({"step", "eval", "probe", "probe_failed", "note", "finished"})
"""Events that a resumed run reproduces, exactly, on its way from its checkpoint."""

UNMADE = "unmade"
"""Marks an expected evaluation that may be made in its place: it is not, where only a request that was dropped
wanted it."""

PROBING = frozenset({"probe", "probe_failed"})

Event = dict[str, Any]


class Journal:
    """The writer of one run's journal.

    Opening it cuts a torn last line. `expect` makes it compare the events of a resumed run with those already
    there.

    Arguments:
        path: the file, made if it is missing.
        may_write: called before every write; a writer that was frozen and lost the run must not write on.
        fence: put a copy in the file's place first, so that a former writer that was frozen between asking and
            writing writes into a file that is no longer there.

    Raises:
        StoreError: the file cannot be opened, is of a newer schema, or a line before the last is no event.
    """

    def __init__(
        self, path: Path, may_write: Callable[[], bool] = lambda: True, *, fence: bool = False
    ) -> None:
        self.path = path
        self._may_write = may_write
        try:
            if fence and path.exists():
                replace_file(path, read_plain(path))
            with ExitStack() as opened:
                self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
                opened.callback(os.close, self._file)
                self.events, end = _whole_events(path)
                if self.events:
                    check_schema(path, self.events[0])
                if end < os.fstat(self._file).st_size:
                    os.ftruncate(self._file, end)
                opened.pop_all()
        except OSError as error:
            raise StoreError(f"{path}: cannot be opened for writing: {error.strerror}") from error
        self._next = len(self.events)
        self._log = EventLog()
        self._expected: deque[Event] = deque()
        self._astray: set[str] = set()  # probes that missed a measurement which the journal has
        self._elsewhere: dict[int, dict[str, Event]] = {}

    def expect(self, events: Iterable[Event], elsewhere: Iterable[Event] = ()) -> None:
        """Compare, from now on, repeated events with these of the journal.

        Arguments:
            events: those that are not in the state that is resumed from; of them, `REPLAYED_EVENTS`. One that is
                marked as unmade is written in its turn, if it is made at all.
            elsewhere: from `bncore.store.lineage.memory_of` another run, whose measurements are to be made alike.
        """
        for event in elsewhere:
            self._elsewhere.setdefault(event["step"], {})[event["name"]] = event
        self._expected.extend(e for e in events if e["type"] in REPLAYED_EVENTS)

    @property
    def caught_up(self) -> bool:
        """Whether every expected event has been repeated."""
        return all(event.get(UNMADE) for event in self._expected)

    def append(self, kind: str, step: int, **fields: Any) -> Event:
        """Write one event; the event.

        Raises:
            StoreError: the file system refuses (full, gone); the journal ends after its last whole line.
        """
        event = {"seq": self._next, "t": time.time(), "type": kind, "step": step, **fields}
        self._write(encode(event) + b"\n")
        self._next += 1
        self._log.tell(event)
        return event

    def append_or_verify(self, kind: str, step: int, **fields: Any) -> None:
        """Write an event that the run's state determines, or compare it with the one already there.

        Raises:
            Divergence: the journal holds another event in its place.
            StoreError: as `append`.
        """
        known = self._expected.popleft() if self._expected else None
        while known is not None and known.get(UNMADE) and (known["type"], known["step"]) != (kind, step):
            known = self._expected.popleft() if self._expected else None
        if known is None or known.get(UNMADE):
            self.append(kind, step, **fields)
            return
        made = orjson.loads(encode({"type": kind, "step": step, **fields}))
        if not same_event(known, made) and not self._excused(known, made):
            raise Divergence(f"{self.path}: {difference(known, made)}")

    def expected_probes(self, step: int) -> dict[str, Event]:
        """The measurements of a step, and the failed ones, that a resumed or repeated run is to reproduce, by
        probe; of another run's, what they say of memory alone."""
        own = {e["name"]: e for e in self._expected if e["type"] in PROBING and e["step"] == step}
        return self._elsewhere.get(step, {}) | own

    def _excused(self, known: Event, made: Event) -> bool:
        """Whether a probe cannot be held to what is journaled: memory is too short now for a measurement that was
        made then, so that what the probe remembers of it is missing in what it measures next."""
        about = [(e["type"] in PROBING, e["step"], e.get("name")) for e in (known, made)]
        if about[0] != about[1] or not about[0][0]:
            return False
        if made.get("short_of_memory"):
            self._astray.add(made["name"])
        return made["name"] in self._astray

    def sync(self) -> None:
        """Make everything written durable.

        Raises:
            StoreError: the file system refuses.
        """
        try:
            os.fsync(self._file)
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be synced: {error.strerror}") from error

    def close(self) -> None:
        os.close(self._file)

    def check_owned(self) -> None:
        """Make sure that this process may still write.

        Raises:
            AlreadyOwnedError: it may not.
        """
        if not self._may_write():
            if not self.path.exists():
                gone = "No such file or directory: moved or removed under its writer"
                raise AlreadyOwnedError(f"{self.path.parent}: {gone}")
            raise AlreadyOwnedError(f"{self.path}: another process has taken this run over")

    def _write(self, line: bytes) -> None:
        self.check_owned()
        if armed("journal.half"):
            os.write(self._file, line[: len(line) // 2])
            failpoint("journal.half")
            line = line[len(line) // 2 :]
        try:
            append_line(self._file, line)
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be written: {error.strerror}") from error


def encode(event: Event) -> bytes:
    """One event as JSON: arrays as lists, numbers that are not finite as "nan", "inf" and "-inf"."""
    return orjson.dumps({k: in_json(v) for k, v in event.items()}, option=orjson.OPT_SERIALIZE_NUMPY)


def in_json(value: Any) -> Any:
    """A value as JSON can hold it: numbers that are not finite as "nan", "inf" and "-inf"."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, np.ndarray):
        if value.ndim == 0:  # a number, which no list is to be made of
            return in_json(value[()])
        if value.dtype.kind != "f" or np.isfinite(value).all():
            return np.ascontiguousarray(value)
        return [in_json(item) for item in value]
    if isinstance(value, np.floating):
        return value if np.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {key: in_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [in_json(item) for item in value]
    return value


def check_schema(path: Path, first: Event) -> None:
    """Make sure that this program knows the vocabulary of the journal that begins with `first`.

    Raises:
        StoreError: it is of a newer schema.
    """
    schema = first.get("schema", SCHEMA)
    if not isinstance(schema, int) or schema > SCHEMA:
        raise StoreError(f"{path}: schema {schema!r}; this program reads up to {SCHEMA}")


def same_event(known: Event, made: Event) -> bool:
    """Whether an event that was recomputed says what the journal says, `seq` and `t` apart; a measurement may say
    more, since a later program measures more."""
    fields = known.keys() if known["type"] == made["type"] == "probe" else known.keys() | made.keys()
    return all(known.get(key) == made.get(key) for key in fields - {"seq", "t"})


def difference(known: Event, made: Event) -> str:
    """Where two events differ, in words; of a measurement, in what the journal says of it."""
    at = f"event {known['seq']} ({known['type']} of step {known['step']})"
    if (known["type"], known["step"]) != (made["type"], made["step"]):
        return f"{at}: recomputed as {made['type']} of step {made['step']}"
    for key in sorted((known.keys() | made.keys()) - {"seq", "t"}, key=lambda key: (key not in known, key)):
        if known.get(key) != made.get(key):
            return f"{at}: {key} was {known.get(key)!r}, recomputed as {made.get(key)!r}"
    return f"{at}: equal"


def read_events(path: Path) -> list[Event]:
    """Every whole event of a journal, which may be growing; none where there is no journal.

    Raises:
        StoreError: it cannot be read, or a line is no event.
    """
    try:
        return _whole_events(path)[0]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error


def _whole_events(path: Path) -> tuple[list[Event], int]:
    """The journal's events, and the size of the file without a torn last line."""
    content = read_plain(path)
    end = content.rfind(b"\n") + 1
    return list(_decode(path, content[:end])), end


def event_of(line: bytes) -> Event | None:
    """The event that a line is; None for one that is none."""
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return event if is_event(event) else None


def is_event(value: object) -> bool:
    """Whether a value has what every event has."""
    return type(value) is dict and type(value.get("type")) is str and type(value.get("step")) is int


def _decode(path: Path, content: bytes) -> Iterator[Event]:
    for number, line in enumerate(content.splitlines(), start=1):
        event = event_of(line)
        if event is None:
            raise StoreError(f"{path}: line {number} is no event: {line[:80]!r}")
        yield event
