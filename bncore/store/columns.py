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
from bncore.store.machine import MACHINE

TABLES = frozenset({"step", "eval", "probe", "log", MACHINE})
"""Event types kept as columns; every other event is kept as it is."""

SMALL_ROWS = 4096
"""Chunks are joined up to here, so that a run followed row by row does not become a chunk a row."""

Chunk = dict[str, NDArray[Any]]
"""Columns of rows that have the same fields."""


@dataclass(frozen=True)
class Series:
    """One field of one kind of event over the steps."""

    steps: NDArray[np.int64]  # (n,) ascending
    values: NDArray[np.float64]  # (n,), or (n, k) for per-layer fields

    def __len__(self) -> int:
        return len(self.steps)


class Columns:
    """Everything read of a run so far. Tables are named by event type, probes as ``probe:<name>``."""

    def __init__(self) -> None:
        self._chunks: dict[str, list[Chunk]] = defaultdict(list)
        self._series: dict[tuple[str, str], Series] = {}
        self.events: list[Event] = []
        """Events that are no table: start, warning, request, note, checkpoint, parent, finished, probe_failed."""
        self.start: Event = {}
        """The journal's first event, known from the first look on; empty before."""
        self.skipped: list[str] = []
        """Lines that are no event: where, and how they begin."""
        self.parent: tuple[Columns, int] | None = None
        """Of a fork: what was read of its parent, and the first step that is the fork's own. The parent's rows
        before it are part of every series."""
        self.complete = False
        """Whether nothing is left to be read before the tail."""
        self.version = 0
        """Another number after everything that was read."""

    def tables(self) -> list[str]:
        """Names of the tables that hold anything."""
        inherited = self.parent[0].tables() if self.parent else []
        return sorted({*self._chunks, *inherited})

    def fields(self, table: str) -> list[str]:
        """Names of the fields of `table`, `step` apart."""
        names = dict.fromkeys(name for chunk in self._chunks.get(table, []) for name in chunk)
        inherited = self.parent[0].fields(table) if self.parent else []
        return [name for name in dict.fromkeys([*names, *inherited]) if name != "step"]

    def series(self, table: str, field: str) -> Series:
        """One field over the steps; empty where there is none. Events without the field are left out."""
        key = (table, field)
        if key not in self._series:
            chunks = [c for c in self._chunks.get(table, []) if "step" in c]
            parts = [c for c in (_in_force(chunks) if table == MACHINE else chunks) if field in c]
            own = _join(parts, field)
            self._series[key] = own if self.parent is None else _behind(*self.parent, own, table, field)
        return self._series[key]

    def last_step(self, table: str) -> int | None:
        """The step of a table's newest row of its own; None where there is none."""
        chunks = self._chunks.get(table)
        return int(chunks[-1]["step"][-1]) if chunks and "step" in chunks[-1] else None

    def forget(self, table: str) -> None:
        """Drop the rows of a table that is read anew."""
        self._chunks.pop(table, None)
        self.forget_series()

    def forget_series(self) -> None:
        """Put series together anew: more was read of the parent."""
        self._series = {}
        self.version += 1

    def snapshot(self) -> Columns:
        """These columns as they are now, for another thread: what is read later leaves them alone.

        Rows are shared, and so are series once put together, until more of their table is read.
        """
        copy = self._like(lambda chunk: chunk, self.events)
        copy.skipped, copy.version = list(self.skipped), self.version
        copy._series = self._series
        if self.parent is not None:
            copy.parent = (self.parent[0].snapshot(), self.parent[1])
        return copy

    def until(self, t: float) -> Columns:
        """What had been journaled at `t`, in seconds since 1970 by the writer's clock."""
        copy = self._like(
            lambda chunk: _before(chunk, t),
            [event for event in self.events if not _later(event.get("t"), t)],
        )
        copy.version = len(copy.events) + sum(len(c["step"]) for part in copy._chunks.values() for c in part)
        if self.parent is not None:
            copy.parent = (self.parent[0].until(t), self.parent[1])
        return copy

    def _like(self, kept: Callable[[Chunk], Chunk], events: list[Event]) -> Columns:
        copy = Columns()
        for table, chunks in self._chunks.items():
            found = [part for part in map(kept, chunks) if len(part.get("step", ()))]
            if found:
                copy._chunks[table] = found
        copy.events, copy.start, copy.complete = events, self.start, self.complete
        return copy

    def last(self, kind: str) -> Event | None:
        """The newest event of a type that is no table."""
        return next((event for event in reversed(self.events) if event["type"] == kind), None)

    def add(self, events: Iterable[Event], *, in_front: bool) -> None:
        """Add events, all newer (or, in front, older) than those held."""
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
        # another dict, since a snapshot may hold this one; copied in one go, since its thread may add to it
        self._series = {key: one for key, one in self._series.copy().items() if key[0] not in grouped}
        self.version += 1
        self.events = plain + self.events if in_front else self.events + plain


def _behind(parent: Columns, first: int, own: Series, table: str, field: str) -> Series:
    """A fork's series behind its parent's rows of the steps before `first`, and the evaluation there, if that was
    the parent's."""
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
    """The rows behind which there are none of the same or an earlier step: a resumed run makes steps again."""
    found: list[Chunk] = []
    least = np.iinfo(np.int64).max
    for chunk in reversed(chunks):
        after = np.append(chunk["step"][1:], least)
        last = chunk["step"] < np.minimum.accumulate(after[::-1])[::-1]
        found.append({name: column[last] for name, column in chunk.items()})
        least = min(least, int(chunk["step"].min()))
    return found[::-1]


def _before(chunk: Chunk, t: float) -> Chunk:
    """The rows of a chunk before the first that is later than `t`; all of them where no times are known."""
    if "t" not in chunk or not (later := chunk["t"] > t).any():
        return chunk
    count = int(later.argmax())
    return {name: column[:count] for name, column in chunk.items()}


def _later(moment: object, t: float) -> bool:
    return isinstance(moment, int | float) and moment > t


def _append(chunks: list[Chunk], chunk: Chunk) -> None:
    """Add `chunk` behind, joined with its neighbours while those are small and not much longer: amortised."""
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
    """Columns of runs of neighbouring rows that have the same fields."""
    if len(set(map(len, rows))) == 1:
        with suppress(KeyError):  # as many fields in all, and all of the first's: the same ones
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
        except (TypeError, ValueError, OverflowError):  # text, or rows of different lengths: no numbers
            continue
    return columns


def _compact(column: NDArray[Any]) -> NDArray[Any]:
    """The column; of one that says the same in every row, as `lr` mostly does, that one number is all it keeps."""
    bits = column.view(np.int64)  # NaN equals itself, and -0.0 is not 0.0
    if column.ndim == 1 and len(bits) > 1 and bits[0] == bits[-1] and (bits == bits[0]).all():
        return np.broadcast_to(column[:1].copy(), len(column))
    return column


def _join(parts: list[Chunk], field: str) -> Series:
    parts = [part for part in parts if 0 not in part[field].shape[1:]]  # no layers: nothing was measured
    widths = {part[field].shape[1:] for part in parts}
    if not parts or len(widths) > 1:
        return Series(np.empty(0, np.int64), np.empty(0))
    return Series(_whole(parts, "step"), _whole(parts, field))


def _whole(parts: list[Chunk], field: str) -> NDArray[Any]:
    """A field of all parts, whose own columns become views of it: every number is in memory once."""
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
