"""What the GPUs are doing, as the driver's own tool tells it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

FIELDS = ("utilization.gpu", "memory.used", "memory.total")


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
        told = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
        rows = [[float(cell) for cell in line.split(",")] for line in told.splitlines() if line.strip()]
        busy, used, total = zip(*rows, strict=True)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return Occupancy(sum(busy) / len(busy) / 100, sum(used), sum(total))
