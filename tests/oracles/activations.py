"""Distributions of a layer's output over the batch (and positions), computed value by value."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Moments:
    """Mean, biased variance, skewness and excess kurtosis of a set of values."""

    mean: float
    variance: float
    skewness: float  # Σ(v−μ)³/m / σ³, nan where σ is 0
    kurtosis: float  # Σ(v−μ)⁴/m / σ⁴ − 3


def histogram(values: Tensor, edges: Sequence[float]) -> tuple[list[int], int, int]:
    """Counts of edges[b] ≤ v < edges[b+1] (the last bin also holds its right edge), below, above."""
    counts, below, above = [0] * (len(edges) - 1), 0, 0
    for v in values.flatten().tolist():
        if v < edges[0]:
            below += 1
        elif v > edges[-1]:
            above += 1
        else:
            inside = [b for b in range(len(counts)) if edges[b] <= v < edges[b + 1]]
            counts[inside[0] if inside else -1] += 1
    return counts, below, above


def moments(values: Tensor) -> Moments:
    """Moments of all values of a tensor."""
    v = values.flatten().tolist()
    mean = math.fsum(v) / len(v)
    second, third, fourth = (math.fsum((u - mean) ** k for u in v) / len(v) for k in (2, 3, 4))
    if second == 0:
        return Moments(mean, 0.0, math.nan, math.nan)
    return Moments(mean, second, third / second**1.5, fourth / second**2 - 3)


def unit_moments(a: Tensor) -> list[Moments]:
    """Moments of each unit (channel) over batch and positions; a is (N, C) or (N, C, H, W)."""
    return [moments(a[:, j]) for j in range(a.shape[1])]


def unit_drifts(now: Tensor, before: Tensor) -> tuple[list[float], list[float]]:
    """μ_now − μ_before and σ²_now − σ²_before of each unit, signed (Fig 8).

    With the initial activations as `before`, these are μ_t − μ_0 and σ²_t − σ²_0; with those of the previous step,
    their absolute values are |μ_{t+1} − μ_t| and |σ²_{t+1} − σ²_t|.
    """
    pairs = list(zip(unit_moments(now), unit_moments(before), strict=True))
    return [n.mean - b.mean for n, b in pairs], [n.variance - b.variance for n, b in pairs]


def dead_units(active: Tensor) -> list[int]:
    """Units whose output after the activation is 0 for every sample and position."""
    dead = []
    for j in range(active.shape[1]):
        if all(v == 0 for v in active[:, j].flatten().tolist()):
            dead.append(j)
    return dead
