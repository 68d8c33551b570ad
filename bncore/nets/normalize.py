"""Normalization as functions, one per kind: `NORMS[kind](y, state)` is gamma * y_hat + beta.

`y` is [samples, channels] or [samples, channels, height, width]; the batch kinds compute statistics per channel
over samples and positions. The functions write nothing but the running statistics, and those only if
`state.momentum` is given. To add a norm, write a function and add a row to `NORMS`; while it is in none of the
sets below, ICS computes it chain by chain, which is correct for any norm, but slower.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor
from torch.nn import functional as F

from bncore.nets.lp import LpSettings, lp_normalized
from bncore.nets.per_channel import batch_dims, per_channel, scale_and_shift, values_per_channel


@dataclass(frozen=True, slots=True)
class NormState:
    """What a normalization reads besides its input; C is the number of channels."""

    gamma: Tensor | None  # (C,); None stands for 1
    beta: Tensor | None  # (C,); None stands for 0
    running_mean: Tensor  # (C,)
    running_var: Tensor  # (C,) variance, or the squared scale s_p^2 of an l_p kind
    from_batch: bool  # use the statistics of this batch rather than the running ones
    momentum: float | None  # weight of this batch in the running statistics; None: do not update them
    eps: float
    exponent: float  # p of an l_p kind
    centered: bool  # l_p scale of y - mean(y) instead of y
    groups: int  # groups of kind `group`; divides C
    fused: bool  # compute l_p by the Triton kernels


def none(y: Tensor, state: NormState) -> Tensor:
    """y + beta: beta is the bias of the preceding map; gamma is not used."""
    return y if state.beta is None else y + per_channel(state.beta, y)


def batch(y: Tensor, state: NormState) -> Tensor:
    """Batch normalization (Ioffe & Szegedy, 2015), equal to torch.nn.BatchNorm1d and BatchNorm2d."""
    if not state.from_batch:
        return _with_statistics(y, state.running_mean, state.running_var, state)
    if state.momentum is None:
        return F.batch_norm(y, None, None, state.gamma, state.beta, True, 0.0, state.eps)
    running = (state.running_mean, state.running_var)
    return F.batch_norm(y, *running, state.gamma, state.beta, True, state.momentum, state.eps)


def batch_detached(y: Tensor, state: NormState) -> Tensor:
    """`batch` without gradients through its mean and variance."""
    if not state.from_batch:
        return _with_statistics(y, state.running_mean, state.running_var, state)
    var, mean = torch.var_mean(y.detach(), dim=batch_dims(y), correction=0)
    _track(state, mean, _unbiased(var, y))
    return _with_statistics(y, mean, var, state)


def batch_population(y: Tensor, state: NormState) -> Tensor:
    """Normalize by the running statistics as they were before this batch, even in training."""
    # Cloned: the backward pass needs the values that the update below overwrites.
    z = _with_statistics(y, state.running_mean.clone(), state.running_var.clone(), state)
    if state.momentum is not None:
        var, mean = torch.var_mean(y.detach(), dim=batch_dims(y), correction=1)
        _track(state, mean, var)
    return z


def mean_only(y: Tensor, state: NormState) -> Tensor:
    """gamma * (y - mean) + beta: centering without scaling."""
    mean = y.mean(batch_dims(y)) if state.from_batch else state.running_mean
    _track(state, mean, None)
    return _scale_and_shift(y, mean, None, state)


def variance_only(y: Tensor, state: NormState) -> Tensor:
    """gamma * y / sqrt(var + eps) + beta: scaling by the standard deviation without centering."""
    if state.from_batch:
        var = y.var(batch_dims(y), correction=0)
        _track(state, None, _unbiased(var, y))
    else:
        var = state.running_var
    return _scale_and_shift(y, None, (var + state.eps).sqrt(), state)


def lp(y: Tensor, state: NormState) -> Tensor:
    """l_p normalization (section 3.3 of Santurkar et al., 2018): (y - mean(y)) / s_p.

    The paper computes s_p from the uncentered y, "before shifting the mean"; with `state.centered` it is computed
    from y - mean(y). The running statistics are the mean and s_p^2.
    """
    if not state.from_batch:
        return _scale_and_shift(y, state.running_mean, state.running_var.sqrt(), state)
    setting = LpSettings(state.exponent, state.eps, state.centered, state.fused)
    z, mean, scale = lp_normalized(y, state.gamma, state.beta, setting)
    _track(state, mean, scale.square())
    return z


def layer(y: Tensor, state: NormState) -> Tensor:
    """Layer normalization (Ba et al., 2016): per sample, over all channels and positions."""
    return F.group_norm(y, 1, state.gamma, state.beta, state.eps)


def group(y: Tensor, state: NormState) -> Tensor:
    """Group normalization (Wu & He, 2018): per sample, over groups of adjacent channels and their positions."""
    return F.group_norm(y, state.groups, state.gamma, state.beta, state.eps)


def instance(y: Tensor, state: NormState) -> Tensor:
    """Instance normalization (Ulyanov et al., 2016): per sample and channel, over positions."""
    return F.group_norm(y, y.shape[1], state.gamma, state.beta, state.eps)


def weight(y: Tensor, state: NormState) -> Tensor:
    """Weight normalization (Salimans & Kingma, 2016): gamma * y + beta, where y = (w / ||w||) x.

    The preceding map divides the weights by their length (`bncore.nets.layer`).
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
"""Norms by kind; l1, l2, linf and lp:<p> share the row `lp`."""

WITHOUT_STATISTICS = frozenset({"none", "layer", "group", "instance", "weight"})
"""Kinds that normalize every sample by itself: no running statistics, nothing to separate between chains."""

PER_CHANNEL = frozenset({"batch", "lp", "mean_only", "variance_only", "batch_detached", "batch_population"})
"""Kinds that normalize every channel by itself; their chains are separated by viewing them as channels."""

OF_THE_BATCH_ALONE = (WITHOUT_STATISTICS | PER_CHANNEL) - {"batch_population"}
"""Kinds that read no running statistics in training; for the others, probes set those of the step they measure."""


def _unbiased(var: Tensor, y: Tensor) -> Tensor:
    count = values_per_channel(y)
    return var * (count / max(count - 1, 1))


def _with_statistics(y: Tensor, mean: Tensor, var: Tensor, state: NormState) -> Tensor:
    """Fused gamma * (y - mean) / sqrt(var + eps) + beta, with constant `mean` and `var`."""
    return F.batch_norm(y, mean, var, state.gamma, state.beta, False, 0.0, state.eps)


def _scale_and_shift(y: Tensor, mean: Tensor | None, scale: Tensor | None, state: NormState) -> Tensor:
    return scale_and_shift(y, mean, scale, state.gamma, state.beta)


def _track(state: NormState, mean: Tensor | None, var: Tensor | None) -> None:
    """Move the running statistics towards those of this batch, as torch's BatchNorm does.

    A variance that has overflowed stays infinite, where lerp's inf - inf would make it NaN. (A nonfinite mean
    makes the outputs NaN, and that step is refused.)
    """
    if state.momentum is None:
        return
    with torch.no_grad():
        if mean is not None:
            state.running_mean.lerp_(mean, state.momentum)
        if var is not None and state.momentum == 1:
            state.running_var.copy_(var)
        elif var is not None:
            state.running_var.lerp_(var, state.momentum).nan_to_num_(nan=inf, posinf=inf)
