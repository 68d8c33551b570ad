"""The table of optimizers, the weight penalty that corresponds to weight decay, and the learning rate as a pure
function of the step, so that resume and replay need no scheduler state."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from bncore.config.model import Optim, Schedule
from bncore.nets import decays

Parameters = Iterable[torch.nn.Parameter]
Groups = list[torch.nn.Parameter] | list[dict[str, Any]]
"""Parameters in the form that an optimizer accepts: a flat list, or parameter groups with their own settings."""

FUSED = {"cuda"}
"""Device types on which the fused optimizer kernel updates all parameters."""


def _sgd(spec: Optim, parameters: Groups, *, lr: float | Tensor, fused: bool) -> torch.optim.Optimizer:
    optimizer = torch.optim.SGD(
        parameters, lr=lr, momentum=spec.momentum, weight_decay=spec.weight_decay, fused=fused or None
    )
    if fused and spec.momentum:
        optimizer.register_step_pre_hook(_begin_momentum)
    return optimizer


def _begin_momentum(optimizer: torch.optim.Optimizer, *arguments: object) -> None:
    """Initialize momentum to zero for parameters that have their first gradient: the fused kernel accepts either
    all buffers or none, but gamma may come into use during a run."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = optimizer.state[parameter]
            if parameter.grad is not None and state.get("momentum_buffer") is None:
                state["momentum_buffer"] = torch.zeros_like(parameter)


def _adam(spec: Optim, parameters: Groups, *, lr: float | Tensor, fused: bool) -> torch.optim.Optimizer:
    return torch.optim.Adam(
        parameters,
        lr=lr,
        betas=spec.betas,
        eps=spec.eps,
        weight_decay=spec.weight_decay,
        fused=fused or None,
        capturable=fused,
    )


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"sgd": _sgd, "adam": _adam}
"""Optimizers by kind. To add one, add a function and a row."""


def build_optimizer(spec: Optim, parameters: Parameters) -> torch.optim.Optimizer:
    """Build the optimizer of `spec` for `parameters`. It skips parameters whose gradient is None, so untrained
    ones neither move nor decay.

    On a GPU, a fused kernel updates all parameters and reads the learning rate from device memory: see
    `rate_on_device`.
    """
    parameters = list(parameters)
    fused = all(p.device.type in FUSED for p in parameters)
    lr: float | Tensor = spec.lr
    if fused and parameters[0].dtype == torch.float32:  # torch's kernels read the rate only in this precision
        lr = torch.tensor(spec.lr, device=parameters[0].device)
    return OPTIMIZERS[spec.kind](spec, _groups(spec, parameters), lr=lr, fused=fused)


def _groups(spec: Optim, parameters: list[torch.nn.Parameter]) -> Groups:
    """A flat list, as in all old checkpoints, or two groups if some parameters are exempt from weight decay."""
    spared = [p for p in parameters if not decays(p, spec.decay)]
    if not spared:
        return parameters
    groups: list[dict[str, Any]] = [{"params": decayed(spec, parameters)}]
    return [*groups, {"params": spared, "weight_decay": 0.0}]


def rate_on_device(optimizer: torch.optim.Optimizer) -> bool:
    """Whether the learning rate is a tensor in device memory, which the update reads when its kernel runs."""
    return isinstance(optimizer.param_groups[0]["lr"], Tensor)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of the next update in all parameter groups."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


@torch.no_grad()
def step_by_relative_length(
    optimizer: torch.optim.Optimizer, weights: Sequence[torch.nn.Parameter], relative: float
) -> None:
    """Make an update that moves each of `weights` by `relative` times its Euclidean norm.

    The direction is that of the step of `optimizer`; weights that it does not move stay unchanged.
    """
    before = [weight.clone() for weight in weights]
    optimizer.step()
    moves = torch._foreach_sub(list(weights), before)
    moved, lengths = torch._foreach_norm(moves), torch._foreach_norm(before)
    for weight, start, move, size, length in zip(weights, before, moves, moved, lengths, strict=True):
        factor = torch.where(size > 0, relative * length / size, torch.zeros_like(size))
        weight.copy_(torch.addcmul(start, move, factor))


def trained(parameters: Parameters) -> list[torch.nn.Parameter]:
    """The parameters on which the step's loss depends: those with a gradient."""
    return [p for p in parameters if p.grad is not None]


def decayed(spec: Optim, parameters: Parameters) -> list[torch.nn.Parameter]:
    """The parameters that are subject to weight decay."""
    return [p for p in parameters if decays(p, spec.decay)]


def grad_norm(parameters: list[torch.nn.Parameter]) -> Tensor:
    """Euclidean norm of the data loss's gradient over all `parameters`, a 0-d tensor."""
    grads = [p.grad for p in parameters if p.grad is not None]
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
    return norm


def weight_penalty(parameters: list[torch.nn.Parameter], weight_decay: float) -> Tensor:
    """(wd / 2) * ||theta||^2 over `parameters`, a 0-d tensor: the L2 term that weight decay adds to the loss."""
    norms = torch.stack(torch._foreach_norm([p.detach() for p in parameters]))
    return 0.5 * weight_decay * norms.square().sum()


def learning_rate(schedule: Schedule, lr: float, step: int, steps: int) -> float:
    """Learning rate of update `step` (0-based) in a run of `steps` updates.

    Warm-up (Goyal et al., 2017, section 2.2) multiplies what the schedule gives by (step + 1) / warmup; the
    cosine (Loshchilov & Hutter, 2017, eq. 5, without restarts) falls from lr at step 0 to 0 at step `steps`.
    """
    warm = min(1.0, (step + 1) / schedule.warmup) if schedule.warmup else 1.0
    if schedule.kind == "cosine":
        return warm * lr * 0.5 * (1.0 + math.cos(math.pi * step / steps))
    if schedule.kind == "step":
        passed = sum(step >= milestone for milestone in schedule.milestones)
        return warm * lr * schedule.factor**passed
    return warm * lr
