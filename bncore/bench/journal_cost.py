"""`bnrun bench journal`: cost of writing and reading an event, and of attaching to a run with a million events."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bncore.bench.timing import Row
from bncore.store.journal import SCHEMA, Journal
from bncore.store.paths import RunDir
from bncore.store.reader import read


def bench_journal(events: int = 1_000_000) -> Iterator[Row]:
    """Microseconds per event, and milliseconds until the tail and the whole of a long journal are read."""
    with tempfile.TemporaryDirectory() as folder:
        run = RunDir(Path(folder))
        journal = Journal(run.journal_file)
        journal.append("start", 0, schema=SCHEMA)
        start = time.perf_counter()
        for step in range(events):
            journal.append(
                "step", step, loss=2.302585 / (step + 1), penalty=0.0, accuracy=0.5, lr=0.1, grad_norm=1.25
            )
        written = time.perf_counter() - start
        journal.close()
        reader = read(run)
        start = time.perf_counter()
        reader.advance(budget_s=0)
        tail = time.perf_counter() - start
        while not reader.columns.complete:
            reader.advance(budget_s=0.05)
        whole = time.perf_counter() - start
        steps_read = len(reader.columns.series("step", "loss"))
        assert steps_read == events, f"{steps_read} of {events} events were read"
    nan = float("nan")
    yield Row("event written", 1e6 * written / events, nan, nan, "", "us")
    yield Row("event read", 1e6 * whole / events, nan, nan, "", "us")
    yield Row(f"{events:,} events: tail at hand", 1e3 * tail, nan, nan, "at once", "ms")
    yield Row(f"{events:,} events: all at hand", 1e3 * whole, nan, nan, "<= 2,000 ms", "ms")
