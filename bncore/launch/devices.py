"""What this machine offers and what its GPUs are doing, found without importing torch."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bncore.config.model import Spec

FIELDS = ("utilization.gpu", "memory.used", "memory.total")
"""What `nvidia-smi` is queried for, of each GPU."""


def cpu_count() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0))


def gpu_count() -> int:
    """CUDA devices this process may use (CUDA_VISIBLE_DEVICES honoured), as the driver says."""
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
        count: how many the driver offers; default: what it says.
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


@dataclass(frozen=True, slots=True)
class Occupancy:
    """Of several GPUs together, at one moment, whoever uses them."""

    busy: float
    """Share of the last moments during which something ran on them, from 0 to 1: their mean. It does not say how
    many of their processors it ran on."""
    used: float
    """Memory that is taken, in MiB."""
    total: float
    """Memory that there is, in MiB."""


def occupancy(gpus: Sequence[str]) -> Occupancy | None:
    """What ``nvidia-smi`` says of these GPUs, named as CUDA_VISIBLE_DEVICES names them; None where it says nothing
    that makes sense."""
    command = ["nvidia-smi", f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits"]
    command += ["-i", ",".join(gpus)]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
        rows = [[float(cell) for cell in line.split(",")] for line in output.splitlines() if line.strip()]
        busy, used, total = zip(*rows, strict=True)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return Occupancy(sum(busy) / len(busy) / 100, sum(used), sum(total))
