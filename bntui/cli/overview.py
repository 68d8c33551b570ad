"""What the commands that list and follow runs know of each: status, newest figures, whether it is dead."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bncore.config.errors import SpecError
from bncore.config.toml import resolved_spec_from_toml
from bncore.launch.slurm.state import Queue, standing
from bncore.store.errors import StoreError
from bncore.store.find import list_sweeps
from bncore.store.journal import in_json
from bncore.store.paths import read_sweep
from bncore.store.problems import evaluation_problem
from bncore.store.reader import Reader, read
from bncore.store.status import LIVE, Observer, Status, read_status

if TYPE_CHECKING:
    from pathlib import Path

    from bncore.config.model import Spec
    from bncore.config.plan import Plan
    from bncore.store.columns import Columns
    from bncore.store.paths import RunDir, SweepDir


SEARCH_S = 1.0
"""Seconds that the journals of all runs may be searched for what their ends do not hold."""
BUDGET_S = 0.02


@dataclass(frozen=True)
class Overview:
    """One run at one moment."""

    run: RunDir
    state: str
    """One of the states, `dead`, or `unknown` where there is no sound heartbeat."""
    status: Status | None
    columns: Columns
    problem: str = ""
    """Why the journal could not be read."""

    def newest(self, table: str, field: str) -> float | None:
        """The last value of a series; None where there is none."""
        series = self.columns.series(table, field)
        return float(series.values[-1]) if len(series) else None

    @property
    def warning(self) -> str:
        """What makes its newest evaluation no result; empty where nothing does."""
        return evaluation_problem(self.columns)

    def times(self) -> tuple[float | None, float | None]:
        """When it began and when it ended, in seconds since 1970; None where the journal does not say."""
        start, end = self.columns.start.get("t"), (self.columns.last("finished") or {}).get("t")
        return (
            float(start) if isinstance(start, int | float) else None,
            float(end) if isinstance(end, int | float) else None,
        )

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        finished = self.columns.last("finished") or {}
        return {
            "run": self.run.name,
            "path": str(self.run.path),
            "state": self.state,
            "step": self.status.step if self.status else None,
            "steps": self.status.steps if self.status else None,
            "rate": self.status.rate if self.status else None,
            "eta_s": self.status.eta_s if self.status else None,
            "loss": in_json(self.newest("step", "loss")),
            "accuracy": in_json(self.newest("step", "accuracy")),
            "test_loss": in_json(self.newest("eval", "test_loss")),
            "test_accuracy": in_json(self.newest("eval", "test_accuracy")),
            "message": self.problem or (self.status.message if self.status else "") or self.warning,
            "params_sha256": finished.get("params_sha256"),
        }


class Follower:
    """Follows a run; each look costs what is new."""

    def __init__(self, run: RunDir, observer: Observer, queue: Queue) -> None:
        self.run = run
        self._queue = queue
        self._reader: Reader = read(run)
        self._observer = observer

    def look(self, until: float = 0.0) -> Overview:
        """The run now.

        Arguments:
            until: by `time.monotonic`; so long the journal is searched for an evaluation, if its end holds none.
        """
        status = read_status(self.run)
        state = self._observer.state(self.run, status)
        told = standing(self._queue, self.run, status, supervised=supervised)
        if told is not None:
            state, status = told
        try:
            columns = self._reader.advance(budget_s=0)
            while not (columns.complete or "eval" in columns.tables()) and time.monotonic() < until:
                columns = self._reader.advance(budget_s=BUDGET_S)
            return Overview(self.run, state, status, columns)
        except StoreError as error:
            return Overview(self.run, state, status, self._reader.columns, str(error))


def supervised(sweep: SweepDir) -> bool:
    """Whether somebody is there to start the sweep's queued runs and to hear requests to it."""
    status = read_status(sweep)
    return status is not None and status.state in LIVE and not Observer().dead(sweep, status)


def look_at(runs: list[RunDir]) -> list[Overview]:
    """Every run now."""
    observer, queue, until = Observer(), Queue(), time.monotonic() + SEARCH_S
    return [Follower(run, observer, queue).look(until) for run in runs]


def time_taken_before(root: Path, planned: Plan) -> float | None:
    """Seconds from first start to last end of the newest finished sweep under `root` that made the same runs, of
    whatever seeds, on whatever data and with whatever number of threads."""
    wanted = sorted(_costs(run.spec) for run in planned.runs)
    for sweep in reversed(list_sweeps(root)):
        experiment = read_sweep(sweep).get("experiment")
        if not isinstance(experiment, dict) or experiment.get("name") != planned.experiment.name:
            continue
        with suppress(SpecError, StoreError):
            runs = sweep.runs()
            made = (resolved_spec_from_toml(run.spec_file) for run in runs)
            if len(runs) != len(wanted) or sorted(map(_costs, made)) != wanted:
                continue
            times = [overview.times() for overview in look_at(runs)]
            starts = [start for start, end in times if start is not None and end is not None]
            ends = [end for _, end in times if end is not None]
            if starts and len(starts) == len(runs):
                return max(ends) - min(starts)
    return None


def _costs(spec: Spec) -> str:
    """What the time of a run depends on."""
    return spec.model_dump_json(exclude={"title", "seed", "data", "device", "threads", "memory_format"})


def figure(value: float | str | None, form: str = ".4g") -> str:
    """A number for a table, `-` where there is none."""
    return "-" if value is None else format(float(value), form)


def steps_made(status: Status | None) -> str:
    """``120/400``; ``120`` alone where nobody knows how many there will be."""
    if status is None:
        return "-"
    return f"{status.step:,}/{status.steps:,}" if status.steps else f"{status.step:,}"


def percent(value: float | None) -> str:
    """A share for a table."""
    return "-" if value is None else f"{100 * value:.1f} %"


def duration(seconds: float | None) -> str:
    """Seconds as a person says them."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
    )
