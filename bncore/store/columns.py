"""A run's events as numpy columns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bncore.store.journal import Event
from bncore.store.machine_log import MACHINE

TABLES = frozenset({"step", "eval", "probe", "log", MACHINE})
"""Event types stored as columns; all other events are stored unchanged."""

SMALL_ROWS = 4096
"""Maximum rows of a merged chunk. Without merging, a run that is followed live would become one chunk per row."""

Chunk = dict[str, NDArray[Any]]
"""Columns by field name, of rows that all have the same fields."""


@dataclass(frozen=True)
class Series:
    """One field of one table, by step."""

    steps: NDArray[np.int64]  # (n,) ascending
    values: NDArray[np.float64]  # (n,), or (n, k) for per-layer fields

    def __len__(self) -> int:
        return len(self.steps)


class Columns:
    """Everything read from a run so far. Tables are named after the event type; probes are ``probe:<name>``."""

    def __init__(self) -> None:
        self._chunks: dict[str, list[Chunk]] = defaultdict(list)
        self._series: dict[tuple[str, str], Series] = {}
        self.events: list[Event] = []
        """All other events: start, warning, request, note, checkpoint, parent, finished, probe_failed."""
        self.start: Event = {}
        """The journal's first event, known after the first read; empty before."""
        self.skipped: list[str] = []
        """Invalid lines: byte offset and beginning of each."""
        self.parent: tuple[Columns, int] | None = None
        """For a fork: its parent's columns and the first step of the fork itself. The parent's rows before that
        step are part of every series."""
        self.complete = False
        """Whether all history before the tail has been read."""
        self.version = 0
        """Changes whenever something was read."""

    def tables(self) -> list[str]:
        """Names of the tables that have rows."""
        inherited = self.parent[0].tables() if self.parent else []
        return sorted({*self._chunks, *inherited})

    def fields(self, table: str) -> list[str]:
        """Names of the fields of `table`, without `step`."""
        names = dict.fromkeys(name for chunk in self._chunks.get(table, []) for name in chunk)
        inherited = self.parent[0].fields(table) if self.parent else []
        return [name for name in dict.fromkeys([*names, *inherited]) if name != "step"]

    def series(self, table: str, field: str) -> Series:
        """One field by step, without the events that lack it; empty if no event has it."""
        key = (table, field)
        if key not in self._series:
            chunks = [c for c in self._chunks.get(table, []) if "step" in c]
            parts = [c for c in (_in_force(chunks) if table == MACHINE else chunks) if field in c]
            own = _join(parts, field)
            self._series[key] = own if self.parent is None else _behind(*self.parent, own, table, field)
        return self._series[key]

    def last_step(self, table: str) -> int | None:
        """Step of the table's newest row, without rows inherited from a parent; None if there are no rows."""
        chunks = self._chunks.get(table)
        return int(chunks[-1]["step"][-1]) if chunks and "step" in chunks[-1] else None

    def forget(self, table: str) -> None:
        """Drop the rows of a table that will be read again."""
        self._chunks.pop(table, None)
        self.forget_series()

    def forget_series(self) -> None:
        """Drop the cached series, for example because more of the parent was read."""
        self._series = {}
        self.version += 1

    def snapshot(self) -> Columns:
        """A copy for another thread, which later reads do not change.

        Rows and cached series are shared with this object until more of their table is read.
        """
        copy = self._like(lambda chunk: chunk, self.events)
        copy.skipped, copy.version = list(self.skipped), self.version
        copy._series = self._series
        if self.parent is not None:
            copy.parent = (self.parent[0].snapshot(), self.parent[1])
        return copy

    def until(self, t: float) -> Columns:
        """The columns as journaled up to time `t`, in seconds since 1970 by the writer's clock."""
        copy = self._like(
            lambda chunk: _before(chunk, t),
            [event for event in self.events if not _later(event.get("t"), t)],
        )
        copy.version = len(copy.events) + sum(len(c["step"]) for part in copy._chunks.values() for c in part)
        if self.parent is not None:
            copy.parent = (self.parent[0].until(t), self.parent[1])
        return copy

    def _like(self, part_of: Callable[[Chunk], Chunk], events: list[Event]) -> Columns:
        copy = Columns()
        for table, chunks in self._chunks.items():
            parts = [part for part in map(part_of, chunks) if len(part.get("step", ()))]
            if parts:
                copy._chunks[table] = parts
        copy.events, copy.start, copy.complete = events, self.start, self.complete
        return copy

    def last(self, kind: str) -> Event | None:
        """The newest event of a type that is not in `TABLES`; None if there is none."""
        return next((event for event in reversed(self.events) if event["type"] == kind), None)

    def add(self, events: Iterable[Event], *, in_front: bool) -> None:
        """Add events, all newer than the present ones, or all older if `in_front`."""
        grouped: dict[str, list[Event]] = defaultdict(list)
        plain = []
        for event in events:
            kind = event["type"]
            if kind == "step":
                grouped["step"].append(event)
            elif kind in TABLES:
                grouped[f"probe:{event.get('name', '')}" if kind == "probe" else kind].append(event)
            else:
                plain.append(event)
        for table, rows in grouped.items():
            if in_front:
                self._chunks[table][:0] = _by_shape(rows)
            else:
                for chunk in _by_shape(rows):
                    _append(self._chunks[table], chunk)
        # A new dict, since a snapshot may share the old one; an atomic `copy`, since that thread may add to it.
        self._series = {key: one for key, one in self._series.copy().items() if key[0] not in grouped}
        self.version += 1
        self.events = plain + self.events if in_front else self.events + plain


def _behind(parent: Columns, first: int, own: Series, table: str, field: str) -> Series:
    """A fork's series appended to its parent's rows before step `first`.

    The parent's evaluation at `first` is included if the fork has none of its own there.
    """
    before = parent.series(table, field)
    theirs = table == "eval" and not (len(own) and own.steps[0] == first)
    count = int(np.searchsorted(before.steps, first, side="right" if theirs else "left"))
    if not count:
        return own
    if not len(own):
        return Series(before.steps[:count], before.values[:count])
    if before.values.shape[1:] != own.values.shape[1:]:
        return own
    steps = np.concatenate([before.steps[:count], own.steps])
    return Series(steps, np.concatenate([before.values[:count], own.values]))


def _in_force(chunks: list[Chunk]) -> list[Chunk]:
    """Rows that no row of the same or an earlier step follows: a resumed run repeats steps, the last counts."""
    in_force: list[Chunk] = []
    least = np.iinfo(np.int64).max
    for chunk in reversed(chunks):
        after = np.append(chunk["step"][1:], least)
        last = chunk["step"] < np.minimum.accumulate(after[::-1])[::-1]
        in_force.append({name: column[last] for name, column in chunk.items()})
        least = min(least, int(chunk["step"].min()))
    return in_force[::-1]


def _before(chunk: Chunk, t: float) -> Chunk:
    """Rows of a chunk before the first one later than `t`; all rows if the chunk has no times."""
    if "t" not in chunk or not (later := chunk["t"] > t).any():
        return chunk
    count = int(later.argmax())
    return {name: column[:count] for name, column in chunk.items()}


def _later(moment: object, t: float) -> bool:
    return isinstance(moment, int | float) and moment > t


def _append(chunks: list[Chunk], chunk: Chunk) -> None:
    """Append `chunk`, merged with preceding chunks that are small and not much longer; amortized constant cost."""
    while chunks and _joinable(chunks[-1], chunk):
        before = chunks.pop()
        chunk = {name: _compact(np.concatenate([before[name], chunk[name]])) for name in before}
    chunks.append(chunk)


def _joinable(before: Chunk, chunk: Chunk) -> bool:
    if "step" not in before or before.keys() != chunk.keys():
        return False
    n, m = len(before["step"]), len(chunk["step"])
    return (
        n <= 2 * m and n + m <= SMALL_ROWS and all(before[k].shape[1:] == chunk[k].shape[1:] for k in chunk)
    )


def _by_shape(rows: list[Event]) -> list[Chunk]:
    """Split rows into maximal stretches of consecutive rows with the same fields; one chunk for each."""
    if len(set(map(len, rows))) == 1:
        with suppress(KeyError):  # same number of fields, and all of the first row's: the same fields
            return [_columns(rows)]
    chunks, start = [], 0
    while start < len(rows):
        keys = rows[start].keys()
        end = start + 1
        while end < len(rows) and rows[end].keys() == keys:
            end += 1
        chunks.append(_columns(rows[start:end]))
        start = end
    return chunks


def _columns(rows: list[Event]) -> Chunk:
    columns: Chunk = {}
    for key in rows[0]:
        if key in ("type", "name"):
            continue
        try:
            kind = np.int64 if key in ("step", "seq") else np.float64
            columns[key] = _compact(np.array(list(map(itemgetter(key), rows)), dtype=kind))
        except (TypeError, ValueError, OverflowError):  # text, or lists of different lengths: not numeric
            continue
    return columns


def _compact(column: NDArray[Any]) -> NDArray[Any]:
    """The column itself, or a broadcast view of one number if all rows are equal, as `lr` mostly is."""
    bits = column.view(np.int64)  # NaN equals itself, and -0.0 is not 0.0
    if column.ndim == 1 and len(bits) > 1 and bits[0] == bits[-1] and (bits == bits[0]).all():
        return np.broadcast_to(column[:1].copy(), len(column))
    return column


def _join(parts: list[Chunk], field: str) -> Series:
    parts = [part for part in parts if 0 not in part[field].shape[1:]]  # without layers, nothing was measured
    widths = {part[field].shape[1:] for part in parts}
    if not parts or len(widths) > 1:
        return Series(np.empty(0, np.int64), np.empty(0))
    return Series(_whole(parts, "step"), _whole(parts, field))


def _whole(parts: list[Chunk], field: str) -> NDArray[Any]:
    """Concatenate a field of all parts, whose columns become views of the result: no number is stored twice."""
    columns = [part[field] for part in parts]
    if len(columns) == 1:
        return np.ascontiguousarray(columns[0])
    base = columns[0].base
    if base is not None and all(c.base is base for c in columns) and len(base) == sum(map(len, columns)):
        return base
    whole = np.concatenate(columns)
    start = 0
    for part, column in zip(parts, columns, strict=True):
        part[field] = whole[start : start + len(column)]
        start += len(column)
    return whole
