"""What this machine offers, found without importing torch."""

from __future__ import annotations

import ctypes
import os
from collections import Counter
from collections.abc import Iterable, Sequence

from bncore.config.model import Spec


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


def visible_gpus(count: int | None = None) -> tuple[str, ...]:
    """Names, as CUDA_VISIBLE_DEVICES spells them, of the GPUs this process may use.

    Arguments:
        count: how many the driver offers; default: asked of it.
    """
    count = gpu_count() if count is None else count
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(i) for i in range(count)] if listed is None else [n.strip() for n in listed.split(",")]
    return tuple(names[:count])


def least_loaded(gpus: Sequence[str], taken: Iterable[str]) -> str:
    """The first of the GPUs with the fewest runs on them."""
    load = Counter(taken)
    return min(gpus, key=lambda gpu: load[gpu])


def share_of_threads(runs: int) -> int:
    """CPU threads for each of `runs` runs of a sweep: the machine's processors shared out, at least one.

    It depends on the machine and on the sweep, never on how many runs are at work at once, because the number
    of threads changes rounding.
    """
    return max(1, cpu_count() // max(1, runs))


def default_jobs(specs: Sequence[Spec]) -> int:
    """How many runs of a sweep at once: one for each GPU, else as many as there are processors for."""
    if any(spec.device.startswith("cuda") for spec in specs):
        return max(1, min(len(specs), gpu_count()))
    threads = max(int(spec.threads) for spec in specs)
    return max(1, min(len(specs), cpu_count() // threads))
