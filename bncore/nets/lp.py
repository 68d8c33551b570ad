"""l_p normalisation (section 3.3 of Santurkar et al., 2018) with its gradient written out.

Autograd would keep three tensors of the size of y and go over memory some twenty times on the way back; written
out, the gradient keeps y alone and goes over it half as often.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bncore.nets.channelwise import batch_dims, per_channel, scale_and_shift, values_per_channel


def lp_scale(y: Tensor, p: float, eps: float) -> Tensor:
    """s_p = (mean|y|^p + eps)^(1/p) per channel, (C,); s_inf = max(max|y|, eps).

    For p other than 1, 2 and inf it is computed as K * (mean|y/K|^p + eps/K^p)^(1/p) with
    K = max(max|y|, eps^(1/p)), where nothing overflows and the bracket stays above 1/m (m values in the
    mean), so that the gradient is finite at y = 0. The value does not depend on K, which is a constant
    of the gradient therefore.
    """
    dims = batch_dims(y)
    if p == 1:
        return y.abs().mean(dims) + eps
    if p == 2:
        return (y.square().mean(dims) + eps).sqrt()
    if math.isinf(p):
        return y.abs().amax(dims).clamp_min(eps)
    eps_root = eps ** (1 / p)
    largest = y.detach().abs().amax(dims).clamp_min(eps_root)
    moment = (y / per_channel(largest, y)).abs().pow(p).mean(dims)
    scale: Tensor = largest * (moment + (eps_root / largest).pow(p)).pow(1 / p)
    return scale


@dataclass(frozen=True, slots=True)
class Setting:
    """Which l_p norm."""

    p: float
    eps: float
    centred: bool
    """Take s_p of y - mean instead of y."""


def lp_normalised(
    y: Tensor, gamma: Tensor | None, beta: Tensor | None, setting: Setting
) -> tuple[Tensor, Tensor, Tensor]:
    """gamma * (y - mean) / s_p + beta, mean (C,) and s_p (C,); the last two without gradient.

    Arguments:
        gamma, beta: (C,); None stands for 1 and 0.
    """
    found: tuple[Tensor, Tensor, Tensor] = _Normalised.apply(y, gamma, beta, setting)
    return found


def _by_definition(
    y: Tensor, gamma: Tensor | None, beta: Tensor | None, setting: Setting
) -> tuple[Tensor, Tensor, Tensor]:
    mean = y.mean(batch_dims(y))
    scale = lp_scale(y - per_channel(mean, y) if setting.centred else y, setting.p, setting.eps)
    return scale_and_shift(y, mean, scale, gamma, beta), mean, scale


class _Normalised(torch.autograd.Function):
    """See `lp_normalised`."""

    @staticmethod
    def forward(
        ctx: Any, y: Tensor, gamma: Tensor | None, beta: Tensor | None, setting: Setting
    ) -> tuple[Tensor, Tensor, Tensor]:
        z, mean, scale = _by_definition(y, gamma, beta, setting)
        ctx.save_for_backward(y, gamma, beta, mean, scale)
        ctx.mark_non_differentiable(mean, scale)
        ctx.setting = setting
        return z, mean, scale

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        y, gamma, beta, mean, scale = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient is to be differentiated again
            return *_differentiable((y, gamma, beta), grad, ctx.setting), None
        factor = 1 / scale if gamma is None else gamma / scale
        # factor * grad, the sum of grad * (y - mean), the sum of grad
        to_y, to_factor, to_beta = torch.ops.aten.native_batch_norm_backward(
            grad, y, factor, mean, torch.ones_like(scale), None, None, False, 0.0, [True, True, True]
        )
        if ctx.needs_input_grad[0]:
            gradients = -factor * to_beta, -factor * to_factor / scale
            to_y += _through_statistics(y, (mean, scale), gradients, ctx.setting)
        return to_y, None if gamma is None else to_factor / scale, None if beta is None else to_beta, None


def _differentiable(
    inputs: tuple[Tensor | None, ...], grad: Tensor, setting: Setting
) -> Iterator[Tensor | None]:
    """The gradients with respect to y, gamma and beta by autograd, which can be differentiated again."""
    y, gamma, beta = inputs
    assert y is not None
    wanted = [t for t in inputs if t is not None and t.requires_grad]
    found = iter(
        torch.autograd.grad(_by_definition(y, gamma, beta, setting)[0], wanted, grad, create_graph=True)
    )
    return (next(found) if t is not None and t.requires_grad else None for t in inputs)


def _through_statistics(
    y: Tensor, statistics: tuple[Tensor, Tensor], gradients: tuple[Tensor, Tensor], setting: Setting
) -> Tensor:
    """What reaches y through its mean and scale, (C,) each, given these and their gradients."""
    (mean, scale), (to_mean, to_scale) = statistics, gradients
    count = values_per_channel(y)
    slope, size = _slope(y - per_channel(mean, y) if setting.centred else y, scale, setting.p)
    size = to_scale * size
    if setting.centred:  # the mean moves every value that the scale is taken of
        to_mean = to_mean - size * slope.sum(batch_dims(y))
    return torch.addcmul(per_channel(to_mean / count, y), slope, per_channel(size, y))


def _slope(u: Tensor, scale: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """ds_p/du as a tensor like u times a factor per channel, (C,); equal maxima share what is theirs."""
    share = torch.full_like(scale, 1 / values_per_channel(u))
    if p == 1:
        return u.sign(), share
    if p == 2:
        return u, share / scale
    if math.isinf(p):
        largest = u.abs().eq_(per_channel(scale, u))
        count = largest.sum(batch_dims(u)).clamp_min(1)  # none, where eps is the scale
        return largest.mul_(u), 1 / (scale * count)
    power = (u / per_channel(scale, u)).abs_().pow_(p - 1)
    return torch.copysign(power, u), share
