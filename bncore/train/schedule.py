"""The learning rate as a pure function of the step, so that resume and replay need no scheduler state."""

from __future__ import annotations

import math

from bncore.config.model import Schedule


def learning_rate(schedule: Schedule, lr: float, step: int, steps: int) -> float:
    """Learning rate of update `step` (0-based) in a run of `steps` updates.

    Warm-up (Goyal et al., 2017, section 2.2) multiplies what the schedule gives by (step + 1) / warmup; the
    cosine (Loshchilov & Hutter, 2017, eq. 5, without restarts) falls from lr at step 0 to 0 at step `steps`.
    """
    warm = min(1.0, (step + 1) / schedule.warmup) if schedule.warmup else 1.0
    if schedule.kind == "cosine":
        return warm * lr * 0.5 * (1.0 + math.cos(math.pi * step / steps))
    if schedule.kind == "step":
        passed = sum(step >= milestone for milestone in schedule.milestones)
        return warm * lr * schedule.factor**passed
    return warm * lr
