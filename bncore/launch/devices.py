"""Processors and GPUs of this machine, and the load of its GPUs, determined without importing torch."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bncore.config.model import Spec

FIELDS = ("utilization.gpu", "memory.used", "memory.total")
"""Fields queried with `nvidia-smi` for each GPU."""


def cpu_count() -> int:
    """Number of processors that this process may use."""
    return len(os.sched_getaffinity(0))


def gpu_count() -> int:
    """Number of CUDA devices that this process may use, according to the driver (respects
    CUDA_VISIBLE_DEVICES)."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def visible_gpus(count: int | None = None) -> tuple[str, ...]:
    """Names, as in CUDA_VISIBLE_DEVICES, of the GPUs that this process may use.

    Arguments:
        count: number of GPUs that the driver offers; default: query the driver.
    """
    count = gpu_count() if count is None else count
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(i) for i in range(count)] if listed is None else [n.strip() for n in listed.split(",")]
    return tuple(names[:count])


def least_loaded(gpus: Sequence[str], taken: Iterable[str]) -> str:
    """The first GPU with the fewest runs.

    Arguments:
        taken: the GPU of each present run.
    """
    load = Counter(taken)
    return min(gpus, key=lambda gpu: load[gpu])


def share_of_threads(runs: int) -> int:
    """CPU threads for each of a sweep's `runs` runs: an equal share of the machine's processors, at least one.

    The share depends only on the machine and the sweep, not on how many runs are running at once, because the
    number of threads affects rounding.
    """
    return max(1, cpu_count() // max(1, runs))


def default_jobs(specs: Sequence[Spec]) -> int:
    """Number of a sweep's runs to execute at once: one per GPU, or on CPUs as many as there are processors for."""
    if any(spec.device.startswith("cuda") for spec in specs):
        return max(1, min(len(specs), gpu_count()))
    threads = max(int(spec.threads) for spec in specs)
    return max(1, min(len(specs), cpu_count() // threads))


@dataclass(frozen=True, slots=True)
class Occupancy:
    """Load of several GPUs together at one moment, including that of other processes."""

    busy: float
    """Mean utilization of the GPUs, from 0 to 1: the fraction of the last sampling period in which any kernel ran,
    regardless of how many of the GPU's multiprocessors it used."""
    used: float
    """Total memory in use, in MiB."""
    total: float
    """Total memory, in MiB."""


def occupancy(gpus: Sequence[str]) -> Occupancy | None:
    """Query ``nvidia-smi`` for these GPUs, named as in CUDA_VISIBLE_DEVICES; None if its answer cannot be used."""
    command = ["nvidia-smi", f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits"]
    command += ["-i", ",".join(gpus)]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
        rows = [[float(cell) for cell in line.split(",")] for line in output.splitlines() if line.strip()]
        busy, used, total = zip(*rows, strict=True)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return Occupancy(sum(busy) / len(busy) / 100, sum(used), sum(total))
