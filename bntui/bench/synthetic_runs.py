"""Synthetic long runs for measurements: journals in the trainer's format, written within a second."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import tomli_w

from bncore.config.model import DLN, Evaluation, GaussianData, Loss, Spec
from bncore.config.toml import spec_to_toml
from bncore.store.journal import SCHEMA, Event
from bncore.store.owner import acquire
from bncore.store.paths import RunDir, SweepDir
from bncore.store.status import State, Status, write_status

CHARTS = ("loss", "accuracy", "ics_l2", "loss_band")
"""Keys of the panels shown."""
MEASURED = 10
"""Steps between measurements."""
LAYERS = 8
BEGUN = 1.7e9
A_STEP_S = 0.01


def remember_charts(folder: Path, experiment: str, keys: tuple[str, ...] = CHARTS) -> None:
    """Make the explorer show these charts for an experiment."""
    file = folder / "state" / "bnrun" / "layouts.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({experiment: list(keys)}))


def made_sweep(path: Path, names: tuple[str, ...]) -> SweepDir:
    """Create a sweep directory without runs; its experiment is named after the directory."""
    (path / "inbox").mkdir(parents=True)
    table = {"queue": list(names), "experiment": {"name": path.name, "title": "Made up", "figure": "4"}}
    (path / "sweep.toml").write_text(tomli_w.dumps(table))
    return SweepDir(path)


def made_run(path: Path, spec: Spec, state: State = "finished", step: int = 0) -> RunDir:
    """Create a run directory without a journal."""
    run = RunDir(path)
    run.inbox.mkdir(parents=True)
    run.checkpoints.mkdir()
    run.spec_file.write_text(spec_to_toml(spec))
    write_status(run, Status(state, step, spec.steps))
    return run


def spec_of(steps: int) -> Spec:
    """Spec of a synthetic run."""
    return Spec(
        steps=steps,
        device="cpu",
        threads=1,
        batch_size="full",
        data=GaussianData(),
        net=DLN(),
        loss=Loss(kind="squared_error"),
        eval=Evaluation(every=0),
    )


class MadeJournal:
    """Writes the journal of one run, possibly in several parts.

    Arguments:
        run: run to write for.
        seed: seed of its values.
    """

    def __init__(self, run: RunDir, seed: int = 0) -> None:
        self._run = run
        self._generator = np.random.default_rng(seed)
        self._seq = 0
        self.step = 0
        """Number of updates written."""

    def write(self, steps: int, *, measured: int = MEASURED) -> int:
        """Append updates, with measurements at every `measured`-th; return the number of events written."""
        events = [] if self._seq else [self._stamped({"type": "start", "step": 0, "schema": SCHEMA})]
        events += [self._stamped(event) for event in self._events(steps, measured)]
        with self._run.journal_file.open("ab") as file:
            file.write(b"".join(orjson.dumps(event) + b"\n" for event in events))
        return len(events)

    def _stamped(self, event: Event) -> Event:
        stamped = {"seq": self._seq, "t": BEGUN + A_STEP_S * event["step"], **event}
        self._seq += 1
        return stamped

    def _events(self, steps: int, measured: int) -> Iterator[Event]:
        trend = 0.05 + 2.25 * np.exp(-np.arange(self.step, self.step + steps) / 8000)
        losses = (trend * np.exp(self._generator.normal(0, 0.1, steps))).tolist()
        for step, loss in enumerate(losses, self.step):
            yield {
                "type": "step", "step": step, "loss": loss, "penalty": 0.0,
                "accuracy": round(64 / (1 + loss)) / 64, "lr": 0.1, "grad_norm": 3.7 * loss,
            }  # fmt: skip
            if step % measured == 0:
                layers = [loss / (1 + layer) for layer in range(LAYERS)]
                yield {
                    "type": "probe", "step": step, "name": "ics", "l2": layers, "cosine": [0.5] * LAYERS,
                    "relative": layers,
                }  # fmt: skip
                yield {
                    "type": "probe", "step": step, "name": "landscape", "grad_norm": 3.7 * loss,
                    "loss_min": 0.8 * loss, "loss_max": 1.7 * loss, "grad_diff_min": 0.1, "beta": 10 * loss,
                    "grad_diff_max": 4 * loss, "lipschitz": 3.0, "two_over_lr": 20.0,
                }  # fmt: skip
        self.step += steps


class Growing:
    """Runs owned by this process, as a trainer owns them; `grow` adds updates to all of them."""

    def __init__(self, runs: list[RunDir], points: int) -> None:
        self._runs = runs
        self._owned = [acquire(run) for run in runs]
        self._journals = [MadeJournal(run, seed) for seed, run in enumerate(runs)]
        self._counter = 0
        self.grow(points)

    def __enter__(self) -> Growing:
        return self

    def __exit__(self, *_: object) -> None:
        for owned in self._owned:
            owned.release()

    def grow(self, steps: int) -> None:
        """Add updates to each run, and a heartbeat."""
        self._counter += 1
        for run, journal in zip(self._runs, self._journals, strict=True):
            journal.write(steps)
            status = Status("running", journal.step, 10**6, 100.0, 3600.0, self._counter, time.time())
            write_status(run, status)


def growing_sweep(folder: Path, runs: int, points: int) -> tuple[SweepDir, Growing]:
    """Create a sweep of running runs with `points` updates so far."""
    names = tuple(f"variant{i}-s0" for i in range(runs))
    sweep = made_sweep(folder / "growing", names)
    growing = [made_run(sweep.path / name, spec_of(10**6), "running") for name in names]
    remember_charts(folder, "growing")
    return sweep, Growing(growing, points)


def long_run(path: Path, events: int) -> RunDir:
    """Create a finished run with a journal of `events` events, one in a hundred of which is a measurement."""
    run = made_run(path, spec_of(events), step=events)
    journal = MadeJournal(run)
    written = 0
    while written < events:
        written += journal.write(min(50_000, events - written), measured=200)
    with run.journal_file.open("rb") as file:
        os.fsync(file.fileno())  # otherwise writing continues in the background and slows down readers
    return run


def same_runs(folder: Path, run: RunDir, count: int) -> SweepDir:
    """Create a sweep of `count` runs that share one journal file through hard links."""
    names = tuple(f"variant{i}-s0" for i in range(count))
    sweep = made_sweep(folder / "many", names)
    for name in names:
        one = made_run(sweep.path / name, spec_of(10**6))
        one.journal_file.hardlink_to(run.journal_file)
    return sweep
