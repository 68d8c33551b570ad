"""Exponential moving average of a curve, without a loop over its points."""

from __future__ import annotations

import math

import numpy as np

from bntui.chart.data import Floats

SMALLEST_WEIGHT = 1e-60
"""Weights are kept above this within a block, so that their reciprocals stay far from overflow."""


def smoothed(values: Floats, smoothing: float) -> Floats:
    """Bias-corrected moving average; points that are not finite are passed over and stay what they are.

    s_t = a s_{t-1} + (1 - a) y_t,  s_0 = 0,  shown as s_t / (1 - a^t), over the finite y_1, y_2, …

    Arguments:
        values: (n,)
        smoothing: a, from 0 (nothing) to below 1.
    """
    if smoothing <= 0 or not values.size:
        return values
    finite = np.isfinite(values)
    if finite.all():
        return _average(values, smoothing)
    result = values.copy()
    result[finite] = _average(values[finite], smoothing)
    return result


def _average(values: Floats, a: float) -> Floats:
    """In blocks: within one, s_k = a^k (s_0 + (1 - a) Σ_{i≤k} y_i a^-i) is a cumulative sum."""
    length = max(1, min(values.size, int(math.log(SMALLEST_WEIGHT) / math.log(a))))
    weights = a ** np.arange(1, length + 1)
    result = np.empty_like(values)
    before = 0.0
    for start in range(0, values.size, length):
        block = values[start : start + length]
        weight = weights[: block.size]
        result[start : start + length] = weight * (before + np.cumsum(block * ((1 - a) / weight)))
        before = float(result[start + block.size - 1])
    counts = np.arange(1, values.size + 1)
    return np.asarray(result / -np.expm1(counts * math.log(a)))
