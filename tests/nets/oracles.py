"""Normalization in the dumbest float64 code: one channel at a time, the definition written out."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def lp_scale(values: Tensor, p: float, eps: float) -> Tensor:
    """(mean|y|^p + eps)^(1/p) of all values; max|y| for infinity."""
    if math.isinf(p):
        return values.abs().max()
    return ((values.abs() ** p).sum() / values.numel() + eps) ** (1 / p)


def normalized(kind: str, v: Tensor, eps: float, *, centered: bool = False) -> Tensor:
    """y_hat of the values of one channel, the batch kinds' definition by definition."""
    mean = v.sum() / v.numel()
    var = ((v - mean) ** 2).sum() / v.numel()
    match kind:
        case "batch":
            return (v - mean) / (var + eps) ** 0.5
        case "batch_detached":
            return (v - mean.detach()) / (var.detach() + eps) ** 0.5
        case "batch_population":  # of a fresh module: mean 0, variance 1
            return v / (1 + eps) ** 0.5
        case "mean_only":
            return v - mean
        case "variance_only":
            return v / (var + eps) ** 0.5
    p = {"l1": 1.0, "l2": 2.0, "linf": math.inf}.get(kind) or float(kind[3:])
    return (v - mean) / lp_scale(v - mean if centered else v, p, eps)


def per_sample(v: Tensor, eps: float) -> Tensor:
    """y_hat of all values of one group of one sample: layer, group and instance norm."""
    mean = v.mean()
    return (v - mean) / (((v - mean) ** 2).mean() + eps) ** 0.5


def batch_kind(
    kind: str, y: Tensor, gamma: Tensor, beta: Tensor, eps: float, *, centered: bool = False
) -> Tensor:
    """gamma * y_hat + beta of [samples, channels, ...], channel by channel."""
    channels = [
        gamma[c] * normalized(kind, y[:, c], eps, centered=centered) + beta[c] for c in range(y.shape[1])
    ]
    return torch.stack(channels, dim=1)


def sample_kind(y: Tensor, gamma: Tensor, beta: Tensor, eps: float, groups: int) -> Tensor:
    """gamma * y_hat + beta, sample by sample and group by group."""
    rows = []
    for sample in y:
        hat = torch.cat([per_sample(part, eps) for part in sample.chunk(groups)])
        rows.append(torch.stack([gamma[c] * hat[c] + beta[c] for c in range(len(hat))]))
    return torch.stack(rows)
