"""What norms with one number per channel share; y is [samples, channels] or [samples, channels, height, width]."""

from __future__ import annotations

import torch
from torch import Tensor


def batch_dims(y: Tensor) -> tuple[int, ...]:
    """The dimensions over which a channel's statistics are computed: samples and positions."""
    return (0, 2, 3) if y.ndim == 4 else (0,)


def values_per_channel(y: Tensor) -> int:
    """Number of values per channel in the batch."""
    return y.numel() // y.shape[1]


def per_channel(statistic: Tensor, y: Tensor) -> Tensor:
    """A view of a (C,) tensor that broadcasts against y."""
    return statistic.view(-1, 1, 1) if y.ndim == 4 else statistic


def scale_and_shift(
    y: Tensor, mean: Tensor | None, scale: Tensor | None, gamma: Tensor | None, beta: Tensor | None
) -> Tensor:
    """gamma * (y - mean) / scale + beta as one multiply-add per element; None terms are omitted."""
    factor = gamma if gamma is not None else y.new_ones(y.shape[1])
    factor = factor if scale is None else factor / scale
    shift = beta if beta is not None else y.new_zeros(y.shape[1])
    shift = shift if mean is None else shift - mean * factor
    return torch.addcmul(per_channel(shift, y), y, per_channel(factor, y))
