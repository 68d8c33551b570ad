"""What this machine offers, found without importing torch."""

from __future__ import annotations

import ctypes
import os


def cpu_count() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0))


def gpu_count() -> int:
    """CUDA devices this process may use (CUDA_VISIBLE_DEVICES honoured), asked of the driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def share_of_threads(runs: int) -> int:
    """CPU threads for each of `runs` runs of a sweep: the machine's processors shared out, at least one.

    It depends on the machine and on the sweep, never on how many runs are at work at once, because the number
    of threads changes rounding.
    """
    return max(1, cpu_count() // max(1, runs))
