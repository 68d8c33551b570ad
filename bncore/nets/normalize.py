"""Normalization as pure functions, one per kind: `NORMS[kind](y, state)` is gamma * y_hat + beta.

`y` is [samples, channels] or [samples, channels, height, width]; statistics of the batch kinds are taken per
channel over samples and positions. A function writes nothing but the running statistics, and those only if
`state.newest` says so. Adding a norm is one function and one row of `NORMS`; while it is in none of the sets
below, ICS computes it chain by chain, which is right for any norm, and slower.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor
from torch.nn import functional as F

from bncore.nets.lp import (
    LpSettings,
    batch_dims,
    lp_normalized,
    per_channel,
    scale_and_shift,
    values_per_channel,
)


@dataclass(frozen=True, slots=True)
class NormState:
    """What a normalization reads beside its input; C is the number of channels."""

    gamma: Tensor | None  # (C,); None stands for 1
    beta: Tensor | None  # (C,); None stands for 0
    running_mean: Tensor  # (C,)
    running_var: Tensor  # (C,) variance, or the squared scale s_p^2 of an l_p kind
    from_batch: bool  # statistics of this batch, or the running ones
    newest: float | None  # weight of this batch in the running statistics; None: leave them alone
    eps: float
    exponent: float  # p of an l_p kind
    centered: bool  # l_p scale of y - mean(y) instead of y
    groups: int  # of `group`; divides C
    fused: bool  # l_p by kernels of our own


def none(y: Tensor, state: NormState) -> Tensor:
    """y + beta: beta is the bias of the map before; gamma has no part."""
    return y if state.beta is None else y + per_channel(state.beta, y)


def batch(y: Tensor, state: NormState) -> Tensor:
    """Batch normalization (Ioffe & Szegedy, 2015), equal to torch.nn.BatchNorm1d and BatchNorm2d."""
    if not state.from_batch:
        return _with_statistics(y, state.running_mean, state.running_var, state)
    if state.newest is None:
        return F.batch_norm(y, None, None, state.gamma, state.beta, True, 0.0, state.eps)
    running = (state.running_mean, state.running_var)
    return F.batch_norm(y, *running, state.gamma, state.beta, True, state.newest, state.eps)


def batch_detached(y: Tensor, state: NormState) -> Tensor:
    """`batch` without the gradient through its mean and variance."""
    if not state.from_batch:
        return _with_statistics(y, state.running_mean, state.running_var, state)
    var, mean = torch.var_mean(y.detach(), dim=batch_dims(y), correction=0)
    _track(state, mean, _unbiased(var, y))
    return _with_statistics(y, mean, var, state)


def batch_population(y: Tensor, state: NormState) -> Tensor:
    """Normalize by the running statistics as they stood before this batch, in training too."""
    # Cloned: the backward pass needs the values that the update below overwrites.
    z = _with_statistics(y, state.running_mean.clone(), state.running_var.clone(), state)
    if state.newest is not None:
        var, mean = torch.var_mean(y.detach(), dim=batch_dims(y), correction=1)
        _track(state, mean, var)
    return z


def mean_only(y: Tensor, state: NormState) -> Tensor:
    """gamma * (y - mean) + beta: centring without scaling."""
    mean = y.mean(batch_dims(y)) if state.from_batch else state.running_mean
    _track(state, mean, None)
    return _scale_and_shift(y, mean, None, state)


def variance_only(y: Tensor, state: NormState) -> Tensor:
    """gamma * y / sqrt(var + eps) + beta: scaling by the standard deviation without centring."""
    if state.from_batch:
        var = y.var(batch_dims(y), correction=0)
        _track(state, None, _unbiased(var, y))
    else:
        var = state.running_var
    return _scale_and_shift(y, None, (var + state.eps).sqrt(), state)


def lp(y: Tensor, state: NormState) -> Tensor:
    """l_p normalization (section 3.3 of Santurkar et al., 2018): (y - mean(y)) / s_p.

    The paper takes s_p of the uncentred y, "before shifting the mean"; `state.centered` takes it of
    y - mean(y). The running statistics are those of the mean and of s_p^2.
    """
    if not state.from_batch:
        return _scale_and_shift(y, state.running_mean, state.running_var.sqrt(), state)
    setting = LpSettings(state.exponent, state.eps, state.centered, state.fused)
    z, mean, scale = lp_normalized(y, state.gamma, state.beta, setting)
    _track(state, mean, scale.square())
    return z


def layer(y: Tensor, state: NormState) -> Tensor:
    """Layer normalization (Ba et al., 2016): each sample over all its channels and positions."""
    return F.group_norm(y, 1, state.gamma, state.beta, state.eps)


def group(y: Tensor, state: NormState) -> Tensor:
    """Group normalization (Wu & He, 2018): each sample over groups of neighbouring channels."""
    return F.group_norm(y, state.groups, state.gamma, state.beta, state.eps)


def instance(y: Tensor, state: NormState) -> Tensor:
    """Instance normalization (Ulyanov et al., 2016): each sample's channel over its positions."""
    return F.group_norm(y, y.shape[1], state.gamma, state.beta, state.eps)


def weight(y: Tensor, state: NormState) -> Tensor:
    """Weight normalization (Salimans & Kingma, 2016): gamma * y + beta, where y = (w / ||w||) x.

    The map before it divides the weights by their length (`bncore.nets.layer`).
    """
    return _scale_and_shift(y, None, None, state)


NORMS: dict[str, Callable[[Tensor, NormState], Tensor]] = {
    "none": none,
    "batch": batch,
    "lp": lp,
    "layer": layer,
    "group": group,
    "instance": instance,
    "weight": weight,
    "mean_only": mean_only,
    "variance_only": variance_only,
    "batch_detached": batch_detached,
    "batch_population": batch_population,
}
"""Every norm by its kind; l1, l2, linf and lp:<p> share the row `lp`."""

WITHOUT_STATISTICS = frozenset({"none", "layer", "group", "instance", "weight"})
"""Kinds that treat every sample by itself: no running statistics, nothing to keep apart between chains."""

PER_CHANNEL = frozenset({"batch", "lp", "mean_only", "variance_only", "batch_detached", "batch_population"})
"""Kinds that treat every channel by itself, whose chains are kept apart as so many channels."""

OF_THE_BATCH_ALONE = (WITHOUT_STATISTICS | PER_CHANNEL) - {"batch_population"}
"""Kinds that read no running statistics in training; probes lend the others those of the step they look at."""


def _unbiased(var: Tensor, y: Tensor) -> Tensor:
    count = values_per_channel(y)
    return var * (count / max(count - 1, 1))


def _with_statistics(y: Tensor, mean: Tensor, var: Tensor, state: NormState) -> Tensor:
    """Fused gamma * (y - mean) / sqrt(var + eps) + beta, `mean` and `var` being constants."""
    return F.batch_norm(y, mean, var, state.gamma, state.beta, False, 0.0, state.eps)


def _scale_and_shift(y: Tensor, mean: Tensor | None, scale: Tensor | None, state: NormState) -> Tensor:
    return scale_and_shift(y, mean, scale, state.gamma, state.beta)


def _track(state: NormState, mean: Tensor | None, var: Tensor | None) -> None:
    """Move the running statistics towards those of this batch, as torch's BatchNorm does: a variance that has
    overflowed stays infinite, where lerp's inf - inf would make it NaN. (A mean that is not finite makes the
    outputs NaN, and the step with it is refused.)"""
    if state.newest is None:
        return
    with torch.no_grad():
        if mean is not None:
            state.running_mean.lerp_(mean, state.newest)
        if var is not None and state.newest == 1:
            state.running_var.copy_(var)
        elif var is not None:
            state.running_var.lerp_(var, state.newest).nan_to_num_(nan=inf, posinf=inf)
