"""Internal covariate shift by its definition, with one full backward pass per gradient."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .measures import cosine, distance, length
from .network import Layer, Loss, loss_of


@dataclass(frozen=True)
class Shift:
    """One layer's internal covariate shift."""

    before: Tensor  # G_i, shaped like W_i
    after: Tensor  # G'_i
    l2: float  # ||G − G'||
    cosine: float  # of G and G'
    relative: float  # ||G − G'|| / ||G||


def weight_gradient(
    layers: Sequence[Layer], index: int, x: Tensor, targets: Tensor, loss: Loss, *, weight_decay: float = 0.0
) -> Tensor:
    """∇_{W_i} L(W_1, …, W_k): only layer `index` requires a gradient."""
    weight = layers[index].weight.detach().clone().requires_grad_()
    requested = [replace(layer, weight=weight) if i == index else layer for i, layer in enumerate(layers)]
    return torch.autograd.grad(loss_of(requested, x, targets, loss, weight_decay=weight_decay), weight)[0]


def prefix_updated(old: Sequence[Layer], new: Sequence[Layer], index: int) -> list[Layer]:
    """W_1^{t+1}, …, W_{i−1}^{t+1}, W_i^t, …, W_k^t.

    "The updated prefix carries its γ, β too; buffers stay those of time t", and so does the noise draw.
    """
    mixed = []
    for i, layer in enumerate(old):
        late = new[i]
        mixed.append(
            replace(layer, weight=late.weight, bias=late.bias, gamma=late.gamma, beta=late.beta)
            if i < index
            else layer
        )
    return mixed


def ics(
    old: Sequence[Layer],
    new: Sequence[Layer],
    x: Tensor,
    targets: Tensor,
    loss: Loss,
    *,
    weight_decay: float = 0.0,
) -> list[Shift]:
    """Def. 2.1 for every layer i: G_i = ∇_{W_i} L(W_1^t, …, W_k^t) and
    G'_i = ∇_{W_i} L(W_1^{t+1}, …, W_{i−1}^{t+1}, W_i^t, …, W_k^t); "report ||G_i − G'_i||_2 and the cosine".

    L is the data loss, unless `weight_decay` adds the penalty.
    """
    shifts = []
    for i in range(len(old)):
        before = weight_gradient(old, i, x, targets, loss, weight_decay=weight_decay)
        after = weight_gradient(prefix_updated(old, new, i), i, x, targets, loss, weight_decay=weight_decay)
        l2 = distance([before], [after])
        size = length([before])
        shifts.append(
            Shift(before, after, l2, cosine([before], [after]), l2 / size if size else float("nan"))
        )
    return shifts


def rescaled_prefix(old: Sequence[Layer], new: Sequence[Layer], relative: float) -> list[Layer]:
    """Control 5 for each layer: W + ΔW · (relative ||W|| / ||ΔW||), with γ, β and bias as updated."""
    made = []
    for early, late in zip(old, new, strict=True):
        change = late.weight - early.weight
        factor = relative * length([early.weight]) / length([change])
        made.append(replace(late, weight=early.weight + factor * change))
    return made
