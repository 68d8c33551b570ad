"""`bnrun bench ui`: cost and latency of the explorer, as a process in a real pseudo-terminal."""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bncore.bench.timing import Row
from bntui.bench.drawing import SERIES, drawn
from bntui.bench.synthetic_runs import growing_sweep, long_run, same_runs
from bntui.bench.terminal import Terminal, bursts, explorer, memory_mb, processor_s, shows_curves
from bntui.bench.training import TrainerProcess

NAN = float("nan")
TOGETHER_S = 0.03
"""Maximum seconds between two pieces of output of the same repaint."""
KEYS = "+c<<0c"
"""Keys that redraw all charts: zoom in, crosshair, zoom out, no crosshair."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of the measurements."""

    points: int = 20_000
    """Points in each of four runs."""
    events: int = 1_000_000
    many_runs: int = 10
    many_events: int = 200_000
    """Events in each of `many_runs`."""
    opened: tuple[int, int] = (100, 10)
    """Numbers of runs for which the time to the first picture is compared."""
    opened_events: int = 20_000
    drawings: int = 40
    refreshes: int = 40
    refresh_s: float = 0.4
    keys: int = 160
    pairs: int = 15
    window_s: float = 3.0
    starts: int = 5


def bench_ui(sizes: Sizes) -> Iterator[Row]:
    """All figures for which the explorer has targets."""
    with tempfile.TemporaryDirectory(prefix="bench-ui-") as name:
        folder = Path(name)
        plain = drawn(sizes.points, sizes.drawings)
        ratio = plain.plotext_ms / plain.ours_ms
        yield Row("4 charts drawn", plain.ours_ms, plain.plotext_ms, ratio, "<= 16 ms")
        yield Row("4 charts drawn, smoothed", plain.smoothed_ms, NAN, NAN, "<= 16 ms")
        ratio = plain.grouped_ms / plain.ours_ms
        yield Row(
            "4 charts, 15 runs in 3 bands, a point more", plain.grouped_ms, plain.ours_ms, ratio, "<= 1.5"
        )
        yield from _refreshes(folder / "refreshes", sizes, plain.plotext_ms, plain.plotext_bytes)
        with TrainerProcess(folder / "trainer") as trainer:
            yield _keys(folder / "keys", sizes)
            yield _attached(folder / "trainer", trainer, sizes)
        yield from _long(folder / "long", sizes)
        yield from _many(folder / "many", sizes)
        yield _opened(folder / "opened", sizes)
        yield _home(folder / "home", sizes)


def _refreshes(folder: Path, sizes: Sizes, plotext_ms: float, plotext_bytes: float) -> Iterator[Row]:
    """Refreshes with new points in four charts, locally and as under SSH."""
    sweep, growing = growing_sweep(folder, SERIES, sizes.points)
    kilobytes = plotext_bytes / 1000
    with growing:
        for remote in (False, True):
            with explorer(folder, str(sweep.path), remote=remote) as terminal:
                terminal.first(shows_curves)
                terminal.idle()
                started, computed = time.perf_counter(), processor_s(terminal.pid)
                for _ in range(sizes.refreshes):
                    growing.grow(10)
                    time.sleep(sizes.refresh_s)
                terminal.idle()
                seconds = time.perf_counter() - started
                computed = 1000 * (processor_s(terminal.pid) - computed)
                byte_counts = bursts(terminal.pieces(started), TOGETHER_S)
            size = sum(byte_counts) / len(byte_counts) / 1000
            where = "as under SSH: " if remote else ""
            if not remote:
                spent = computed / len(byte_counts)
                yield Row("a refresh, with all around it", spent, plotext_ms, plotext_ms / spent, "<= 16 ms")
                yield Row("sent per refresh, the largest", max(byte_counts) / 1000, NAN, NAN, "", "kB")
            yield Row(f"{where}sent per refresh", size, kilobytes, kilobytes / size, "<= 8 kB", "kB")
            yield Row(f"{where}sent per second", sum(byte_counts) / seconds / 1000, NAN, NAN, "", "kB")


def _keys(folder: Path, sizes: Sizes) -> Row:
    """Milliseconds from a key press to the last byte of the repaint, while a trainer uses the machine."""
    sweep, growing = growing_sweep(folder, SERIES, sizes.points)
    with growing, explorer(folder, str(sweep.path)) as terminal:
        terminal.first(shows_curves)
        terminal.idle()
        times = [_answer_ms(terminal, KEYS[i % len(KEYS)]) for i in range(sizes.keys)]
    bar = f"<= 50 ms (median {statistics.median(times):.0f})"
    slow = float(np.percentile(times, 95))
    return Row("key to repaint, 95th percentile, while training", slow, NAN, NAN, bar)


def _answer_ms(terminal: Terminal, key: str) -> float:
    time.sleep(random.uniform(0.05, 0.15))  # out of phase with the explorer's frames
    pressed = terminal.type(key)
    terminal.first(bool, pressed)
    return 1000 * (terminal.quiet(TOGETHER_S, pressed) - pressed)


def _attached(folder: Path, trainer: TrainerProcess, sizes: Sizes) -> Row:
    """The trainer's speed with the explorer running and frozen, alternately."""
    pairs = []
    with explorer(folder, str(trainer.sweep.path)) as terminal:
        terminal.first(shows_curves)
        for i in range(sizes.pairs):
            rates = {}
            for watched in (True, False) if i % 2 else (False, True):
                (terminal.unfreeze if watched else terminal.freeze)()
                time.sleep(0.2)
                rates[watched] = trainer.rate(sizes.window_s)
            pairs.append((rates[True], rates[False]))
    return Row(
        "a training step, explorer attached",
        1000 / statistics.median(one for one, _ in pairs),
        1000 / statistics.median(other for _, other in pairs),
        statistics.median(one / other for one, other in pairs),
        ">= 0.97 of its steps/s",
    )


def _long(folder: Path, sizes: Sizes) -> Iterator[Row]:
    """Time from program start to the first picture of a long run, and until all of it has been read."""
    folder.mkdir()
    run = long_run(folder / "long" / "batch-s0", sizes.events)
    firsts, wholes, most = [], [], 0.0
    for _ in range(sizes.starts):
        with explorer(folder, str(run.path)) as terminal:
            firsts.append(terminal.first(shows_curves) - terminal.started)
            wholes.append(terminal.idle() - terminal.started)
            most = max(most, memory_mb(terminal.pid)[1])
    name = f"{sizes.events:,} events"
    yield Row(f"{name}: start to first picture", statistics.median(firsts), NAN, NAN, "<= 1 s", "s")
    yield Row(f"{name}: start to all of it", statistics.median(wholes), NAN, NAN, "<= 3 s", "s")
    yield Row(f"{name}: most memory", most, NAN, NAN, "", "MB")


def _many(folder: Path, sizes: Sizes) -> Iterator[Row]:
    """Memory with many long runs open and fully read."""
    folder.mkdir()
    sweep = same_runs(folder, long_run(folder / "one" / "batch-s0", sizes.many_events), sizes.many_runs)
    with explorer(folder, str(sweep.path)) as terminal:
        terminal.first(shows_curves)
        terminal.idle()
        now, most = memory_mb(terminal.pid)
    name = f"{sizes.many_runs} runs of {sizes.many_events:,} events"
    yield Row(f"{name}: memory", now, NAN, NAN, "<= 250 MB", "MB")
    yield Row(f"{name}: most memory", most, NAN, NAN, "", "MB")


def _opened(folder: Path, sizes: Sizes) -> Row:
    """Time from program start to the first picture of many runs, compared with fewer runs."""
    run = long_run(folder / "one" / "batch-s0", sizes.opened_events)
    sweeps = {count: same_runs(folder / str(count), run, count) for count in sizes.opened}
    times: dict[int, list[float]] = {count: [] for count in sizes.opened}
    for _ in range(sizes.starts):
        for count, sweep in sweeps.items():
            with explorer(folder / str(count), str(sweep.path)) as terminal:
                times[count].append(terminal.first(shows_curves) - terminal.started)
    many, few = (statistics.median(seconds) for seconds in times.values())
    name = f"{sizes.opened[0]} runs, beside {sizes.opened[1]}: to first picture"
    return Row(name, many, few, many / few, "<= 1 s", "s")


def _home(folder: Path, sizes: Sizes) -> Row:
    """Time from program start to the list of all runs and presets."""
    _, growing = growing_sweep(folder / "root", 2 * SERIES, 200)
    times = []
    with growing:
        for _ in range(sizes.starts):
            with explorer(folder, "--root", str(folder / "root")) as terminal:
                shown = terminal.first(lambda text: b"variant7" in text and b"dln_bn" in text)
                times.append(shown - terminal.started)
    return Row("start to the list of runs and presets", statistics.median(times), NAN, NAN, "<= 1 s", "s")
