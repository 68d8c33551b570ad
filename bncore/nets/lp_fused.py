"""l_p normalization on a GPU with as few passes over memory as torch's batch norm.

Plain arithmetic (`bncore.nets.lp`) makes some twenty passes over memory, forward and backward together, and twice
as many for p other than 1, 2 and inf, where eight suffice: the kernels read y for the statistics, y and the output
gradient for the sums of the backward, and both again to write the input gradient. Each program sums a slab of
rows, and the slabs are summed in a fixed order: equal inputs give bitwise equal results.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
from torch import Tensor

from bncore.nets import lp_kernels
from bncore.nets.per_channel import values_per_channel

TILE = 2048
"""Values that a program holds at a time."""
PROGRAMS = 1024
"""Approximate number of programs launched when there is enough work."""


def fit(y: Tensor) -> bool:
    """Whether the kernels support y: float32 or float64, channels innermost."""
    if y.dtype not in (torch.float32, torch.float64):
        return False
    return y.is_contiguous(memory_format=torch.channels_last) if y.ndim == 4 else y.is_contiguous()


def lp_statistics(y: Tensor, p: float, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and s_p of y, (C,) each; see `bncore.nets.lp.lp_scale`."""
    total, largest, moment = _slabs(lp_kernels.statistics, (y,), p).unbind(1)
    mean, count = total.sum(0) / values_per_channel(y), values_per_channel(y)
    if p == 1:
        return mean, moment.sum(0) / count + eps
    if p == 2:
        return mean, (moment.sum(0) / count + eps).sqrt()
    if math.isinf(p):
        return mean, largest.amax(0).clamp_min(eps)
    eps_root = eps ** (1 / p)
    unit = largest.amax(0).clamp_min(eps_root)
    bracket = (moment * (largest / unit).pow(p)).sum(0) / count + (eps_root / unit).pow(p)
    return mean, unit * bracket.pow(1 / p)


def lp_sums(y: Tensor, grad: Tensor, mean: Tensor, scale: Tensor, p: float) -> tuple[Tensor, Tensor, Tensor]:
    """The sums of grad and of grad * (y - mean), and the number of maxima (|y| = s_p; p = inf only), (C,) each."""
    total, product, maxima = _slabs(lp_kernels.sums, (y, grad, mean, scale), p).sum(0)
    return total, product, maxima


def lp_gradient(
    y: Tensor, grad: Tensor, statistics: tuple[Tensor, Tensor, Tensor, Tensor], p: float
) -> Tensor:
    """factor * grad + shift + share * slope(y), shaped like y.

    The slope is ds_p/dy without the factor common to the values of a channel.

    Arguments:
        statistics: s_p, factor, shift and share, (C,) each.
    """
    out = torch.empty_like(y)
    rows, channels = values_per_channel(y), y.shape[1]
    tile, width = _tile(channels)
    grid = (triton.cdiv(rows, tile), triton.cdiv(channels, width))
    with torch.cuda.device_of(y):
        lp_kernels.gradient[grid](
            y, grad, *statistics, out, rows, channels, p=p, tile_rows=tile, tile_channels=width
        )
    return out


def _slabs(kernel: Any, tensors: tuple[Tensor, ...], p: float) -> Tensor:
    """The kernel's three sums for each slab and channel, [slabs, 3, C]."""
    y = tensors[0]
    rows, channels = values_per_channel(y), y.shape[1]
    tile, width = _tile(channels)
    groups = triton.cdiv(channels, width)
    slab = tile * triton.cdiv(triton.cdiv(rows, tile), max(1, PROGRAMS // groups))
    slabs = triton.cdiv(rows, slab)
    out = y.new_empty(slabs, 3, channels)
    with torch.cuda.device_of(y):
        kernel[slabs, groups](*tensors, out, rows, channels, slab, p=p, tile_rows=tile, tile_channels=width)
    return out


def _tile(channels: int) -> tuple[int, int]:
    """Rows and channels that a program holds at a time."""
    width = min(64, triton.next_power_of_2(channels))
    return TILE // width, width
