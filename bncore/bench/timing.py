"""Side-by-side timing in one process: interleaved repeats, medians, and ratios of pairs."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch

Work = Callable[[], object]
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3)."""


@dataclass(frozen=True)
class Row:
    """One comparison."""

    what: str
    ours: float
    """Median of ours, in `unit`."""
    theirs: float
    """Median of the baseline."""
    ratio: float
    """Median of the ratios of pairs, in the direction that `target` states."""
    target: str
    """The target and the good side of it, such as ``>= 0.97 of its steps/s``."""
    unit: str = "ms"


def seconds(work: Work, device: str = "cpu") -> float:
    """Wall-clock seconds of one call, with the device synchronized before and after."""
    _wait(device)
    start = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - start


def keep_freed_memory() -> None:
    """Make the C library keep freed memory. Otherwise, depending on the memory layout, one of two equal loops may
    return pages and fetch them again at every step, and the loops seem up to 8 % apart."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(TRIM_THRESHOLD, 2**30)
        library.mallopt(MMAP_THRESHOLD, 2**25)


def beside(
    what: str,
    ours: Work,
    theirs: Work,
    target: str = "",
    *,
    repeats: int,
    device: str = "cpu",
    steps: int = 1,
    costs: bool = False,
) -> Row:
    """Milliseconds per step, ours and theirs, timed in turn `repeats` times after one warm-up each; the order
    alternates.

    Arguments:
        steps: number of steps timed together.
        costs: whether the ratio is of times; otherwise of speeds.
    """
    works = times(ours, steps), times(theirs, steps)
    for work in works:
        seconds(work, device)
    milliseconds: tuple[list[float], list[float]] = [], []
    for i in range(repeats):
        for which in (1, 0) if i % 2 else (0, 1):
            milliseconds[which].append(1000 * seconds(works[which], device) / steps)
    speed = median(other / mine for mine, other in zip(*milliseconds, strict=True))
    return Row(what, median(milliseconds[0]), median(milliseconds[1]), 1 / speed if costs else speed, target)


def times(work: Work, count: int) -> Work:
    """The work, repeated `count` times."""

    def repeated() -> None:
        for _ in range(count):
            work()

    return repeated


def peak_bytes(work: Work, device: str = "cpu") -> int:
    """Peak tensor memory during `work`, in bytes, beyond that in use at its start."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        work()
    assert profile.profiler is not None
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    total = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        total += event.nbytes()
        peak = max(peak, total)
    return peak


def products_per_second(dtype: torch.dtype, device: str = "cpu") -> float:
    """Multiply-adds per second in a product of two square matrices that saturate the device, best of five."""
    size = 1024 if device == "cpu" else 8192
    a, b = (torch.ones(size, size, dtype=dtype, device=device) for _ in range(2))
    out = torch.empty_like(a)

    def work() -> None:
        torch.mm(a, b, out=out)

    seconds(work, device)
    return size**3 / min(seconds(work, device) for _ in range(5))


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()
