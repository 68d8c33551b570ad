"""Optimisers in a table, and the weight penalty that their weight decay amounts to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from bncore.spec.model import Optim

Parameters = Iterable[torch.nn.Parameter]


def _sgd(spec: Optim, parameters: Parameters, *, fused: bool | None) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        parameters, lr=spec.lr, momentum=spec.momentum, weight_decay=spec.weight_decay, fused=fused
    )


def _adam(spec: Optim, parameters: Parameters, *, fused: bool | None) -> torch.optim.Optimizer:
    return torch.optim.Adam(
        parameters,
        lr=spec.lr,
        betas=spec.betas,
        eps=spec.eps,
        weight_decay=spec.weight_decay,
        fused=fused,
    )


class _Maker(Protocol):
    def __call__(
        self, spec: Optim, parameters: Parameters, *, fused: bool | None
    ) -> torch.optim.Optimizer: ...


OPTIMISERS: dict[str, _Maker] = {"sgd": _sgd, "adam": _adam}
"""Optimiser kinds; one function and one row adds another."""


def build_optimiser(spec: Optim, parameters: Parameters) -> torch.optim.Optimizer:
    """The optimiser of `spec` over `parameters`; `None` gradients are skipped, so untrained parts neither move
    nor decay. On a GPU all parameters are updated by one kernel."""
    parameters = list(parameters)
    fused = True if all(p.is_cuda for p in parameters) else None
    return OPTIMISERS[spec.kind](spec, parameters, fused=fused)


def set_learning_rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Set the rate of the next update in every parameter group."""
    for group in optimiser.param_groups:
        group["lr"] = lr


@torch.no_grad()
def step_by_relative_length(
    optimiser: torch.optim.Optimizer, weights: Sequence[torch.nn.Parameter], relative: float
) -> None:
    """An update in which each of `weights` moves by ``relative`` times its own Euclidean length.

    The direction is the one `optimiser` chose; a weight that it does not move stays.
    """
    before = [weight.clone() for weight in weights]
    optimiser.step()
    moves = torch._foreach_sub(list(weights), before)
    moved, lengths = torch._foreach_norm(moves), torch._foreach_norm(before)
    for weight, start, move, size, length in zip(weights, before, moves, moved, lengths, strict=True):
        factor = torch.where(size > 0, relative * length / size, torch.zeros_like(size))
        weight.copy_(torch.addcmul(start, move, factor))


def trained(parameters: Parameters) -> list[torch.nn.Parameter]:
    """The parameters that the step's loss reaches: those holding a gradient."""
    return [p for p in parameters if p.grad is not None]


def grad_norm(parameters: list[torch.nn.Parameter]) -> Tensor:
    """Euclidean norm of the data loss's gradient over all `parameters`, a 0-d tensor."""
    grads = [p.grad for p in parameters if p.grad is not None]
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
    return norm


def weight_penalty(parameters: list[torch.nn.Parameter], weight_decay: float) -> Tensor:
    """(wd / 2) * ||theta||^2 over `parameters`, a 0-d tensor: the L2 term that weight decay adds to the loss."""
    norms = torch.stack(torch._foreach_norm([p.detach() for p in parameters]))
    return 0.5 * weight_decay * norms.square().sum()
