"""Exponential moving average of a curve, without a loop over its points."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from bncore.figure import Curve, Floats

SMALLEST_WEIGHT = 1e-60
"""Lower bound for the weights within a block, so that their reciprocals stay far from overflow."""
LARGEST = 1e200
"""Values beyond this would overflow when divided by the smallest weight."""
ROUNDING = 2.0**-54
"""Too small a number to change 1 when subtracted from it."""


def smoothed(values: Floats, smoothing: float) -> Floats:
    """Bias-corrected exponential moving average; non-finite points are skipped and left unchanged.

    s_t = a s_{t-1} + (1 - a) y_t,  s_0 = 0,  shown as s_t / (1 - a^t), over the finite y_1, y_2, …

    Arguments:
        values: (n,)
        smoothing: a, from 0 (none) to below 1.
    """
    if smoothing <= 0 or not values.size:
        return values
    finite = np.isfinite(values)
    if finite.all():
        return _average(values, smoothing)
    result = values.copy()
    result[finite] = _average(values[finite], smoothing)
    return result


def smoothed_curve(curve: Curve, smoothing: float) -> Curve:
    """The curve with `smoothed` edges; the curve itself without smoothing."""
    if smoothing <= 0:
        return curve
    low = smoothed(curve.low, smoothing)
    return replace(curve, low=low, high=low if curve.is_line else smoothed(curve.high, smoothing))


def _average(values: Floats, a: float) -> Floats:
    """Average in blocks, all at once: within a block, s_k = a^k (s_0 + (1 - a) Σ_{i≤k} y_i a^-i) is a cumulative
    sum."""
    if not values.size:
        return values
    largest = float(np.abs(values).max())
    if largest > LARGEST:
        return _average(values / largest, a) * largest
    length = max(1, min(values.size, int(math.log(SMALLEST_WEIGHT) / math.log(a))))
    weights = a ** np.arange(1, length + 1)
    blocks = np.zeros((-(-values.size // length), length))
    blocks.ravel()[: values.size] = values
    blocks *= (1 - a) / weights
    np.cumsum(blocks, axis=1, out=blocks)
    blocks += _carried(blocks[:, -1], float(weights[-1]))[:, None]
    blocks *= weights
    result: Floats = blocks.ravel()[: values.size]
    biased = min(values.size, 1 + int(math.log(ROUNDING) / math.log(a)))
    result[:biased] /= -np.expm1(np.arange(1, biased + 1) * math.log(a))
    return result


def _carried(sums: Floats, weight: float) -> Floats:
    """(blocks,) s_0 of each block, which is the last s of the preceding one."""
    carried, before = np.empty(sums.size), 0.0
    for i, total in enumerate(sums.tolist()):
        carried[i] = before
        before = weight * (before + total)
    return carried
