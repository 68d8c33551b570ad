"""`bnrun bench jobs`: how many concurrent runs are worthwhile, found by trying."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

from bncore.bench.timing import Row
from bncore.config.plan import Plan
from bncore.launch.devices import Occupancy, default_jobs, occupancy, visible_gpus
from bncore.launch.local import LocalSweep
from bncore.store.log import last_line
from bncore.store.paths import RunDir
from bncore.store.status import HEARTBEAT_S, LIVE, read_status
from bncore.store.sweep import create_sweep

ENDLESS = 10**9
WORTH = 0.95
"""Share of the best total steps per second that counts as enough: more concurrent runs are not worthwhile."""
LEAST_STEPS = 10
"""Fewest steps that every run must make, however long they take."""
SPARE = 0.05
"""Share of a GPU's memory to leave free."""


class NotMeasured(RuntimeError):
    """Raised if runs could not be timed; the message says why."""


class Interrupted(RuntimeError):
    """Raised if a signal ended the benchmark.

    Arguments:
        number: signal number.
    """

    def __init__(self, number: int) -> None:
        super().__init__("interrupted")
        self.number = number


@dataclass(frozen=True)
class ConcurrentRuns:
    """Measurement of several concurrent runs."""

    count: int
    speed: float
    """Steps per second of all runs together."""
    gpus: Occupancy | None
    """GPU utilization (mean) and memory (peak) during the measurement."""


def bench_jobs(plan: Plan, run: str, *, most: int = 32, at_least_s: float = 20.0) -> Iterator[Row]:
    """Time concurrent copies of a run, doubling their number while that helps and GPU memory lasts: total steps
    per second compared with a single run. The last row is the smallest number that reaches 95 % of the best.

    Every run is a separate process that measures, evaluates and writes as in its sweep; only its directory is not
    kept.

    Arguments:
        plan: the resolved plan.
        run: name of one of its runs.
        most: most concurrent runs.
        at_least_s: seconds to time once all runs are training; longer if a run has not made ten steps.

    Raises:
        NotMeasured: not even a single run could be timed.
        Interrupted: a signal was received.
    """
    default = default_jobs([one.spec for one in plan.runs])
    plan = replace(plan, runs=tuple(one for one in plan.runs if one.name == run))
    gpus = visible_gpus() if plan.runs[0].spec.device.startswith("cuda") else ()
    before = occupancy(gpus) if gpus else None
    measured: list[ConcurrentRuns] = []
    for count in _doubling(most):
        try:
            _check_memory(before, measured, count)
            measured.append(_measured(plan, count, gpus, at_least_s))
        except NotMeasured as error:
            if not measured:
                raise
            yield Row(f"{count} at once", math.nan, math.nan, math.nan, f"left out: {error}", "")
            break
        yield _row(measured[-1], measured[0])
        if len(measured) > 1 and measured[-1].speed < measured[-2].speed / WORTH:
            break
    best = recommended(measured)
    yield Row(
        f"--jobs {best.count}",
        best.count,
        default,
        best.speed / measured[0].speed,
        f"the fewest with {WORTH:.0%} of the most steps per second; {default} is the default",
        "",
    )


def recommended(measured: list[ConcurrentRuns]) -> ConcurrentRuns:
    """The fewest concurrent runs whose speed is nearly the best; `measured` lists fewer before more."""
    enough = WORTH * max(one.speed for one in measured)
    return next(one for one in measured if one.speed >= enough)


def _doubling(most: int) -> Iterator[int]:
    count = 1
    while count < most:
        yield count
        count *= 2
    yield most


def _check_memory(before: Occupancy | None, measured: list[ConcurrentRuns], count: int) -> None:
    """Raise NotMeasured if so many runs, extrapolated from fewer, would not fit in GPU memory."""
    if before is None or not measured or measured[-1].gpus is None:
        return
    last = measured[-1].gpus
    needed = before.used + (last.used - before.used) / measured[-1].count * count
    room = (1 - SPARE) * last.total
    if needed > room:
        raise NotMeasured(f"{needed:,.0f} MiB, {last.total:,.0f} are there")


def _row(one: ConcurrentRuns, alone: ConcurrentRuns) -> Row:
    note = ""
    if gpus := one.gpus:
        note = f"GPU at work {gpus.busy:.0%} of the time, {gpus.used:,.0f} of {gpus.total:,.0f} MiB"
    return Row(f"{one.count} at once", one.speed, alone.speed, one.speed / alone.speed, note, "/s")


def _measured(plan: Plan, count: int, gpus: tuple[str, ...], at_least_s: float) -> ConcurrentRuns:
    with _scratch() as folder:
        runs = create_sweep(_endless(plan, count), root=Path(folder)).runs()
        local = LocalSweep(runs, jobs=count)
        watch = _Watch(local, runs, gpus, at_least_s)
        local.run(watch.tick)
        if local.signal is not None:
            raise Interrupted(local.signal)
        if watch.speed is None:
            raise NotMeasured(_what_happened(runs))
        return ConcurrentRuns(count, watch.speed, watch.seen)


def _scratch() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="bnrun-jobs-")
    except OSError as error:
        raise NotMeasured(f"no temporary directory can be made: {error.strerror or error}") from error


def _endless(plan: Plan, count: int) -> Plan:
    """A plan of `count` copies of the plan's run that do not end by themselves."""
    (run,) = plan.runs
    spec = run.spec.model_copy(update={"steps": ENDLESS})
    return replace(plan, runs=tuple(replace(run, name=f"{run.name}-{n}", spec=spec) for n in range(count)))


class _Watch:
    """Times runs from the moment all of them are training."""

    def __init__(
        self, local: LocalSweep, runs: list[RunDir], gpus: tuple[str, ...], at_least_s: float
    ) -> None:
        self.speed: float | None = None
        """Steps per second of all runs together, once known."""
        self._local = local
        self._runs = runs
        self._gpus = gpus
        self._at_least_s = at_least_s
        self._heard: list[tuple[int, int, float]] = [(-1, 0, 0.0)] * len(runs)
        """For each run: the newest heartbeat's counter, its step, and when it was seen."""
        self._began: list[tuple[int, int, float]] = []
        self._looks: list[Occupancy] = []
        self._next_look = 0.0

    @property
    def seen(self) -> Occupancy | None:
        """GPU occupancy during the measurement."""
        if not self._looks:
            return None
        busy, used = mean(one.busy for one in self._looks), max(one.used for one in self._looks)
        return Occupancy(busy, used, self._looks[-1].total)

    def tick(self) -> None:
        """Read heartbeats; end the runs once enough is known or one of them has ended."""
        if self._local.stopping:
            return
        if not self._listen() or self._local.exit_codes:
            self._local.end()
            return
        if not self._began:
            if all(step > 0 for _, step, _ in self._heard):
                self._began = list(self._heard)
            return
        if self._gpus and time.monotonic() >= self._next_look:
            use = occupancy(self._gpus)
            self._looks += [use] if use is not None else []
            self._next_look = time.monotonic() + HEARTBEAT_S
        took = [now[2] - then[2] for now, then in zip(self._heard, self._began, strict=True)]
        steps_done = [now[1] - then[1] for now, then in zip(self._heard, self._began, strict=True)]
        if min(took) >= self._at_least_s and min(steps_done) >= LEAST_STEPS:
            self.speed = sum(steps / seconds for steps, seconds in zip(steps_done, took, strict=True))
            self._local.end()

    def _listen(self) -> bool:
        """Record new heartbeats; False if a run has ended by itself."""
        for index, run in enumerate(self._runs):
            status = read_status(run)
            if status is None or status.state not in {*LIVE, "queued"}:
                return False
            if status.counter != self._heard[index][0]:
                self._heard[index] = status.counter, status.step, time.monotonic()
        return True


def _what_happened(runs: list[RunDir]) -> str:
    for run in runs:
        status = read_status(run)
        if status is not None and status.state in ("diverged", "failed"):
            why = status.message or "--run times another one"
            return f"{run.path.name} has {status.state} at step {status.step}; {why}"
    words = [word for word in map(last_line, runs) if word]
    return f"a run has ended by itself: {words[0] if words else 'without a word'}"
