"""How much memory there is to measure with."""

from __future__ import annotations

import torch

SHARE = 1 / 8
"""Of the memory that nobody uses, what a measurement may take for the sake of speed: other runs may be on the same
GPU, and their training must not run out of it."""


def spare_steps(device: torch.device) -> float | None:
    """Memory that nobody uses on a GPU, in peaks of this process so far: those of its training steps; None on
    other devices, whose memory is not the process's to count."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free / max(1, torch.cuda.max_memory_allocated(device))


def roomy(least: float, useful: float, spare: float) -> float:
    """What a measurement may hold: `least` doubled as long as that is useful and there is room for it.

    It is one of few numbers, so that a little more memory now and then is no other measurement.

    Arguments:
        least: always allowed, in training steps.
        useful: more would not be used.
        spare: from `spare_steps`.
    """
    held = least
    while held < useful and 2 * held <= SHARE * spare:
        held *= 2
    return held
