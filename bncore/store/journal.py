"""The journal: append-only, one event per line, and the only source of truth about what happened.

A line is written by one `write` and counts as part of the journal only with its newline. SIGKILL loses nothing
that was written, so lines are not synced individually; `sync` is called before each checkpoint, which relies on
them.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
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
"""Version of the event vocabulary, given on the journal's first line."""

REPLAYED_EVENTS = frozenset({"step", "eval", "probe", "probe_failed", "note", "finished"})
"""Types of events that a resumed run reproduces exactly after its checkpoint."""

UNMADE = "unmade"
"""Key that marks an expected evaluation as optional: it is not made if only a dropped request caused it."""

PROBING = frozenset({"probe", "probe_failed"})

Event = dict[str, Any]


class Journal:
    """The writer of one run's journal.

    Opening truncates a torn last line. After `expect`, the events of a resumed run are compared with those already
    journaled.

    Arguments:
        path: the file, created if it is missing.
        may_write: called before every write: a writer that was frozen and has lost the run must not continue.
        fence: first replace the file with a copy. A former writer that was frozen between its check and its write
            then writes to the unlinked original.

    Raises:
        StoreError: the file cannot be opened, has a newer schema, or has an invalid line before the last.
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
        self._astray: set[str] = set()  # probes that could not repeat a journaled measurement
        self._elsewhere: dict[int, dict[str, Event]] = {}

    def expect(self, events: Iterable[Event], elsewhere: Iterable[Event] = ()) -> None:
        """Compare repeated events with these journaled ones from now on.

        Arguments:
            events: events that are not in the state resumed from; only `REPLAYED_EVENTS` are compared. One that is
                marked `UNMADE` is written when its turn comes, if it is made at all.
            elsewhere: result of `bncore.store.lineage.memory_of` for another run, whose measurements must be
                repeated with the same use of memory.
        """
        for event in elsewhere:
            self._elsewhere.setdefault(event["step"], {})[event["name"]] = event
        self._expected.extend(e for e in events if e["type"] in REPLAYED_EVENTS)

    @property
    def caught_up(self) -> bool:
        """Whether every expected event has been repeated."""
        return all(event.get(UNMADE) for event in self._expected)

    def append(self, kind: str, step: int, **fields: Any) -> Event:
        """Write one event and return it.

        Raises:
            StoreError: the file system refuses (full, gone); the journal still ends with a whole line.
        """
        event = {"seq": self._next, "t": time.time(), "type": kind, "step": step, **fields}
        self._write(encode(event) + b"\n")
        self._next += 1
        self._log.log(event)
        return event

    def append_or_verify(self, kind: str, step: int, **fields: Any) -> None:
        """Write an event that the run's state determines, or compare it with the one already journaled.

        Raises:
            Divergence: the journal has a different event in its place.
            StoreError: as `append`.
        """
        old = self._expected.popleft() if self._expected else None
        while old is not None and old.get(UNMADE) and (old["type"], old["step"]) != (kind, step):
            old = self._expected.popleft() if self._expected else None
        if old is None or old.get(UNMADE):
            self.append(kind, step, **fields)
            return
        new = orjson.loads(encode({"type": kind, "step": step, **fields}))
        if not same_event(old, new) and not self._excused(old, new):
            raise Divergence(f"{self.path}: {difference(old, new)}")

    def expected_probes(self, step: int) -> dict[str, Event]:
        """By probe name, the measurements of a step, failed ones included, that a resumed or replayed run must
        reproduce; for those of another run, only their memory fields."""
        own = {e["name"]: e for e in self._expected if e["type"] in PROBING and e["step"] == step}
        return self._elsewhere.get(step, {}) | own

    def _excused(self, old: Event, new: Event) -> bool:
        """Whether a probe may deviate from the journal: there is not enough memory now for a measurement that was
        made then, so later measurements lack what the probe would have remembered of it."""
        about = [(e["type"] in PROBING, e["step"], e.get("name")) for e in (old, new)]
        if about[0] != about[1] or not about[0][0]:
            return False
        if new.get("short_of_memory"):
            self._astray.add(new["name"])
        return new["name"] in self._astray

    def sync(self) -> None:
        """Flush everything written to disk (fsync).

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
        """Check that this process may still write.

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
    """One event as JSON: arrays as lists, non-finite numbers as "nan", "inf" and "-inf"."""
    return orjson.dumps({k: in_json(v) for k, v in event.items()}, option=orjson.OPT_SERIALIZE_NUMPY)


def in_json(value: Any) -> Any:
    """The value in a form that JSON can represent: non-finite numbers as "nan", "inf" and "-inf"."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, np.ndarray):
        if value.ndim == 0:  # a scalar, which cannot be iterated over
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
    """Check that this program knows the schema of the journal whose first event is `first`.

    Raises:
        StoreError: the schema is newer.
    """
    schema = first.get("schema", SCHEMA)
    if not isinstance(schema, int) or schema > SCHEMA:
        raise StoreError(f"{path}: schema {schema!r}; this program reads up to {SCHEMA}")


def same_event(old: Event, new: Event) -> bool:
    """Whether a recomputed event equals the journaled one, ignoring `seq` and `t`. A measurement may have
    additional fields, since later versions measure more."""
    fields = old.keys() if old["type"] == new["type"] == "probe" else old.keys() | new.keys()
    return all(old.get(key) == new.get(key) for key in fields - {"seq", "t"})


def difference(old: Event, new: Event) -> str:
    """The first difference between two events, in words; fields of the journaled event are compared first."""
    at = f"event {old['seq']} ({old['type']} of step {old['step']})"
    if (old["type"], old["step"]) != (new["type"], new["step"]):
        return f"{at}: recomputed as {new['type']} of step {new['step']}"
    for key in sorted((old.keys() | new.keys()) - {"seq", "t"}, key=lambda key: (key not in old, key)):
        if old.get(key) != new.get(key):
            return f"{at}: {key} was {old.get(key)!r}, recomputed as {new.get(key)!r}"
    return f"{at}: equal"


def read_events(path: Path) -> list[Event]:
    """All complete events of a journal, which may still be growing; empty if there is no journal.

    Raises:
        StoreError: it cannot be read, or a line is not an event.
    """
    try:
        return _whole_events(path)[0]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error


def _whole_events(path: Path) -> tuple[list[Event], int]:
    """The journal's events, and the size of the file without a torn last line, in bytes."""
    content = read_plain(path)
    end = content.rfind(b"\n") + 1
    events = []
    for number, line in enumerate(content[:end].splitlines(), start=1):
        event = event_of(line)
        if event is None:
            raise StoreError(f"{path}: line {number} is no event: {line[:80]!r}")
        events.append(event)
    return events, end


def event_of(line: bytes) -> Event | None:
    """Parse one line as an event; None if it is not one."""
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return event if is_event(event) else None


def is_event(value: object) -> bool:
    """Whether a value is a dict with the fields that every event has."""
    return type(value) is dict and type(value.get("type")) is str and type(value.get("step")) is int
