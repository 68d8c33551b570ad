"""l_p normalization (section 3.3 of Santurkar et al., 2018) with an explicit backward pass.

Autograd would save three tensors of the size of y and make some twenty passes over memory in its backward; the
explicit backward saves only y and makes half as many.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from bncore.nets.per_channel import batch_dims, per_channel, scale_and_shift, values_per_channel


def lp_scale(y: Tensor, p: float, eps: float) -> Tensor:
    """s_p = (mean|y|^p + eps)^(1/p) per channel, (C,); s_inf = max(max|y|, eps).

    For p other than 1, 2 and inf it is computed as K * (mean|y/K|^p + eps/K^p)^(1/p) with
    K = max(max|y|, eps^(1/p)). This cannot overflow, and the bracket stays above 1/m (m values in the mean),
    so that the gradient is finite at y = 0. The value does not depend on K; the gradient therefore treats K
    as a constant.
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
class LpSettings:
    """Settings of an l_p norm."""

    p: float
    eps: float
    centered: bool
    """Compute s_p from y - mean instead of y."""
    fused: bool = False
    """Use the kernels of `bncore.nets.lp_fused` where they support y; never if `centered`."""


def lp_normalized(
    y: Tensor, gamma: Tensor | None, beta: Tensor | None, setting: LpSettings
) -> tuple[Tensor, Tensor, Tensor]:
    """gamma * (y - mean) / s_p + beta, mean (C,) and s_p (C,); the last two are not differentiable.

    Arguments:
        gamma, beta: (C,); None stands for 1 and 0.
    """
    result: tuple[Tensor, Tensor, Tensor] = _Normalized.apply(y, gamma, beta, setting)
    return result


def _fused(y: Tensor, setting: LpSettings) -> bool:
    return setting.fused and not setting.centered and _kernels().fit(y)


@cache
def _kernels() -> ModuleType:
    """The Triton kernels, imported only when needed: CPU builds of torch come without Triton."""
    return import_module("bncore.nets.lp_fused")


def _by_definition(
    y: Tensor, gamma: Tensor | None, beta: Tensor | None, setting: LpSettings
) -> tuple[Tensor, Tensor, Tensor]:
    mean = y.mean(batch_dims(y))
    scale = lp_scale(y - per_channel(mean, y) if setting.centered else y, setting.p, setting.eps)
    return scale_and_shift(y, mean, scale, gamma, beta), mean, scale


class _Normalized(torch.autograd.Function):
    """See `lp_normalized`."""

    @staticmethod
    def forward(
        ctx: Any, y: Tensor, gamma: Tensor | None, beta: Tensor | None, setting: LpSettings
    ) -> tuple[Tensor, Tensor, Tensor]:
        if _fused(y, setting):
            mean, scale = _kernels().lp_statistics(y, setting.p, setting.eps)
            z = scale_and_shift(y, mean, scale, gamma, beta)
        else:
            z, mean, scale = _by_definition(y, gamma, beta, setting)
        ctx.save_for_backward(y, gamma, beta, mean, scale)
        ctx.mark_non_differentiable(mean, scale)
        ctx.setting = setting
        return z, mean, scale

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        y, gamma, beta, mean, scale = ctx.saved_tensors
        if torch.is_grad_enabled():  # double backward
            return *_differentiable((y, gamma, beta), grad, ctx.setting), None
        factor = 1 / scale if gamma is None else gamma / scale
        gradients = _fused_gradients if _fused(y, ctx.setting) else _gradients
        to_y, to_factor, to_beta = gradients(
            y, grad, (mean, scale, factor), ctx.setting, ctx.needs_input_grad[0]
        )
        return to_y, None if gamma is None else to_factor / scale, None if beta is None else to_beta, None


def _differentiable(
    inputs: tuple[Tensor | None, ...], grad: Tensor, setting: LpSettings
) -> Iterator[Tensor | None]:
    """The gradients with respect to y, gamma and beta, computed by autograd so that they are differentiable."""
    y, gamma, beta = inputs
    assert y is not None
    wanted = [t for t in inputs if t is not None and t.requires_grad]
    gradients = iter(
        torch.autograd.grad(_by_definition(y, gamma, beta, setting)[0], wanted, grad, create_graph=True)
    )
    return (next(gradients) if t is not None and t.requires_grad else None for t in inputs)


PerChannel = tuple[Tensor, Tensor, Tensor]
"""mean, s_p and gamma / s_p, (C,) each."""


def _gradients(
    y: Tensor, grad: Tensor, statistics: PerChannel, setting: LpSettings, wanted: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients with respect to y (if wanted), gamma / s_p and beta."""
    mean, scale, factor = statistics
    # factor * grad, sum of grad * (y - mean), sum of grad
    to_y, to_factor, to_beta = torch.ops.aten.native_batch_norm_backward(
        grad, y, factor, mean, torch.ones_like(scale), None, None, False, 0.0, [True, True, True]
    )
    if wanted:
        u = y - per_channel(mean, y) if setting.centered else y
        slope, maxima = _slope(u, scale, setting.p)
        to_mean = -factor * to_beta
        size = -factor * to_factor / scale * _share(u, scale, setting.p, maxima)
        if setting.centered:  # the mean shifts every value that the scale is computed from
            to_mean = to_mean - size * slope.sum(batch_dims(y))
        shift = per_channel(to_mean / values_per_channel(y), y)
        to_y += torch.addcmul(shift, slope, per_channel(size, y))
    return to_y, to_factor, to_beta


def _fused_gradients(
    y: Tensor, grad: Tensor, statistics: PerChannel, setting: LpSettings, wanted: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Same as `_gradients`, by the Triton kernels."""
    kernels = _kernels()
    mean, scale, factor = statistics
    grad = grad.contiguous(memory_format=torch.channels_last) if y.ndim == 4 else grad.contiguous()
    to_beta, to_factor, maxima = kernels.lp_sums(y, grad, mean, scale, setting.p)
    if not wanted:
        return None, to_factor, to_beta
    shift = -factor * to_beta / values_per_channel(y)
    size = -factor * to_factor / scale * _share(y, scale, setting.p, maxima)
    to_y = kernels.lp_gradient(y, grad, (scale, factor, shift, size), setting.p)
    return to_y, to_factor, to_beta


def _slope(u: Tensor, scale: Tensor, p: float) -> tuple[Tensor, Tensor | None]:
    """ds_p/du without the factor `_share`, shaped like u; for p = inf, also the number of maxima per channel."""
    if p == 1:
        return u.sign(), None
    if p == 2:
        return u, None
    if math.isinf(p):
        largest = u.abs().eq_(per_channel(scale, u))
        maxima = largest.sum(batch_dims(u))
        return largest.mul_(u), maxima
    power = (u / per_channel(scale, u)).abs_().pow_(p - 1)
    return torch.copysign(power, u), None


def _share(u: Tensor, scale: Tensor, p: float, maxima: Tensor | None) -> Tensor:
    """The factor of ds_p/du common to the values of a channel, (C,); tied maxima split it equally."""
    if math.isinf(p):
        assert maxima is not None
        return 1 / (scale * maxima.clamp_min(1))  # no maxima where eps is the scale
    count = values_per_channel(u)
    share = torch.full_like(scale, 1 / count)
    return share / scale if p == 2 else share
