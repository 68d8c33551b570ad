"""Playback of finished runs as if they were live, by the timestamps in their journals."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from bncore.figure import Floats
from bncore.follow.request_view import applied_changes, with_changes
from bncore.follow.run_view import RunView
from bncore.store.columns import Columns
from bncore.store.dropped_requests import is_applied
from bncore.store.status import State, Status
from bntui.live.snapshot import Snapshot
from bntui.live.sources import Clock, Source

Span = tuple[float, float]
"""Times of the first and last event, in seconds since 1970."""

SLOWEST, FASTEST = 1e-3, 1e6
RATE_STEPS = 20
"""Number of latest steps over which the displayed rate is computed."""


class Playback:
    """A source that shows another one as of a moving point in time. Periods in which no run was working, as
    between a run and its fork, are skipped.

    Everything is read first, which takes a moment for long runs; then the clock starts. The controls may be called
    from any thread.

    Arguments:
        source: source to play back.
        speed: seconds of the runs' own time per second.
        clock: monotonic clock in seconds.
    """

    interval_s = 0.1

    def __init__(self, source: Source, *, speed: float = 1.0, clock: Clock = time.monotonic) -> None:
        self._source = source
        self._clock = clock
        self._lock = threading.Lock()
        self._whole: Snapshot | None = None
        self.speed = speed
        """Seconds of the runs' own time per second."""
        self.paused = False
        self._position = 0.0
        self._since = 0.0  # clock time at which `_position` applied
        self._at_work: list[Span] = []
        self._spans: dict[RunView, Span | None] = {}
        self._shown: dict[RunView, RunView] = {}

    @property
    def length_s(self) -> float:
        """Total seconds in which any run was working; 0 until everything has been read."""
        return sum(last - first for first, last in self._at_work)

    @property
    def position_s(self) -> float:
        """Current position, in seconds in which any run was working."""
        with self._lock:
            return self._now()

    @property
    def ended(self) -> bool:
        """Whether the end has been reached."""
        return self._whole is not None and self.position_s >= self.length_s

    @property
    def toggle_label(self) -> str:
        """Label for what `toggle` would do."""
        return "play again" if self.ended else "resume" if self.paused else "pause"

    def toggle(self) -> None:
        """Pause or resume; at the end, play again from the start."""
        if self.ended:
            self.paused = True
            self.seek(0.0)
        with self._moved():
            self.paused = not self.paused

    def seek(self, position_s: float) -> None:
        """Go to a position in working seconds from the first event, clamped to the playback's length."""
        with self._moved():
            self._position = min(max(position_s, 0.0), self.length_s)

    def speed_up(self, factor: float) -> None:
        """Multiply the speed by a factor, within bounds."""
        with self._moved():
            self.speed = min(FASTEST, max(SLOWEST, self.speed * factor))

    def poll(self, budget_s: float) -> Snapshot:
        """Everything journaled up to the current position; while the source is still being read, runs without
        events."""
        if self._whole is None:
            whole = self._source.poll(budget_s)
            if not whole.complete:
                unread = [(view, view.columns.until(-np.inf)) for view in whole.runs]
                views = tuple(_revealed(view, columns, "queued", "being read") for view, columns in unread)
                return replace(whole, runs=views, complete=False)
            self._begin_with(whole)
            assert self._whole is not None
        with self._lock:
            t = self._moment(self._now())
        runs = tuple(self._view(view, t) for view in self._whole.runs)
        return replace(self._whole, t=t, runs=runs)

    def _begin_with(self, whole: Snapshot) -> None:
        self._spans = {view: _span(view.columns) for view in whole.runs}
        with self._lock:
            self._at_work = _joined(span for view in whole.runs for span in _at_work(view.columns))
            self._since = self._clock()
            self._whole = whole

    def _view(self, view: RunView, t: float) -> RunView:
        """The run at `t`; the same object as at the previous poll if nothing was journaled since. A run without
        journal entries, such as one that failed at startup, is shown in its final state: its time is unknown."""
        span = self._spans[view]
        if span is None or t >= span[1]:
            return view
        columns, last = view.columns.until(t), self._shown.get(view)
        state: State = _state(columns) if t >= span[0] else "queued"
        if last is None or (last.columns.version, last.state) != (columns.version, state):
            self._shown[view] = last = _revealed(view, columns, state)
        return last

    def _now(self) -> float:
        gone = 0.0 if self.paused or self._whole is None else (self._clock() - self._since) * self.speed
        return min(self._position + gone, self.length_s)

    def _moment(self, position_s: float) -> float:
        """Seconds since 1970 at a position; gaps between periods of work are skipped."""
        for first, last in self._at_work:
            if position_s <= last - first:
                return first + position_s
            position_s -= last - first
        return self._at_work[-1][1] if self._at_work else 0.0

    @contextmanager
    def _moved(self) -> Iterator[None]:
        """Lock and fix the current position while the speed, state or position is changed."""
        with self._lock:
            self._position = self._now()
            self._since = self._clock()
            yield


def _revealed(view: RunView, columns: Columns, state: State, message: str = "") -> RunView:
    """A run as it was when its journal contained `columns`."""
    answered = {event.get("id") for event in columns.events if event["type"] == "request"}
    newest = columns.last_step("step")
    inherited = columns.parent[1] if columns.parent else 0
    step = inherited if newest is None else newest + 1
    rate = _rate(columns)
    eta_s = (view.steps - step) / rate if rate else None
    return replace(
        view,
        columns=columns,
        state=state,
        status=Status(state, step, view.steps, rate, eta_s, message=message),
        problem="",
        requests=tuple(r for r in view.requests if r.outcome != "pending" and r.id in answered),
        spec=with_changes(view.submitted, applied_changes(columns)),
    )


def _state(columns: Columns) -> State:
    """State of a run in progress: paused if the last pause or resume request was a pause, else running."""
    events = reversed(columns.events)
    last = next((e for e in events if is_applied(e, "pause") or is_applied(e, "resume")), None)
    return "paused" if last is not None and last["command"]["kind"] == "pause" else "running"


def _rate(columns: Columns) -> float | None:
    """Recent updates per second; None if there are too few steps."""
    series = columns.series("step", "t")
    steps, times = series.steps[-RATE_STEPS:], series.values[-RATE_STEPS:]
    if len(times) < 2 or not times[-1] > times[0]:
        return None
    return float((steps[-1] - steps[0]) / (times[-1] - times[0]))


def _at_work(columns: Columns) -> Iterator[Span]:
    """Periods in which a run was working: from each start to its last event before the next start."""
    times = _times(columns)
    events = (event.get("t") for event in columns.events if event["type"] == "start")
    starts = [float(t) for t in events if isinstance(t, int | float)]
    cuts = np.unique(np.searchsorted(times, starts))
    for part in np.split(times, cuts):
        if part.size:
            yield float(part[0]), float(part[-1])


def _joined(spans: Iterable[Span]) -> list[Span]:
    """Spans in order, with overlapping ones merged."""
    joined: list[Span] = []
    for first, last in sorted(spans):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined


def _span(columns: Columns) -> Span | None:
    """Times of a run's own first and last events; None if it has none with a timestamp."""
    times = _times(columns)
    return (float(times[0]), float(times[-1])) if times.size else None


def _times(columns: Columns) -> Floats:
    """Sorted times of a run's own events."""
    own = columns.until(np.inf)
    own.parent = None
    events = [float(t) for event in own.events if isinstance(t := event.get("t"), int | float)]
    times = np.concatenate([events, *(own.series(table, "t").values for table in own.tables())])
    return np.sort(times[np.isfinite(times)])
