"""Estimates of how long a sweep will take, and durations in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from heapq import heapify, heapreplace
from pathlib import Path

from bncore.config.errors import SpecError
from bncore.config.model import Spec
from bncore.config.plan import Plan
from bncore.config.toml import resolved_spec_from_toml
from bncore.follow.run_view import RunView, view_runs
from bncore.store.errors import StoreError
from bncore.store.find import list_sweeps
from bncore.store.paths import read_sweep


def time_taken_before(root: Path, planned: Plan) -> float | None:
    """Seconds from first start to last end of the newest finished sweep under `root` with the same runs.

    Seeds, data, device, memory format and number of threads may differ. None if there is no such sweep.
    """
    wanted = sorted(_costs(run.spec) for run in planned.runs)
    for sweep in reversed(list_sweeps(root)):
        experiment = read_sweep(sweep).get("experiment")
        if not isinstance(experiment, dict) or experiment.get("name") != planned.experiment.name:
            continue
        with suppress(SpecError, StoreError):
            runs = sweep.runs()
            specs = (resolved_spec_from_toml(run.spec_file) for run in runs)
            if len(runs) != len(wanted) or sorted(map(_costs, specs)) != wanted:
                continue
            times = [overview.times() for overview in view_runs(runs)]
            ended = [(start, end) for start, end in times if start is not None and end is not None]
            if ended and len(ended) == len(runs):
                return max(end for _, end in ended) - min(start for start, _ in ended)
    return None


def time_left(views: Sequence[RunView]) -> float | None:
    """Seconds until all runs will have ended, assuming that queued runs take the slots of running ones at their
    mean rate. None if no running run has an estimate."""
    going = [view for view in views if view.state == "running" and view.eta_s is not None]
    ends = [view.eta_s for view in going if view.eta_s is not None]
    paces = [1 / view.rate for view in going if view.rate]
    if not ends:
        return None
    heapify(ends)
    for view in views:
        if view.state == "queued" and paces:
            heapreplace(ends, ends[0] + (view.steps - view.step) * sum(paces) / len(paces))
    return max(ends)


def _costs(spec: Spec) -> str:
    """The settings that determine how long a run takes, as text."""
    return spec.model_dump_json(exclude={"title", "seed", "data", "device", "threads", "memory_format"})


def duration(seconds: float | None) -> str:
    """A duration in readable units: ``48 s``, ``6 min``, ``2 h 05``, ``3 d 4 h``; a dash if unknown."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    if seconds < 99.5:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d}" if hours < 48 else f"{hours // 24} d {hours % 24} h"
