"""The check that a module can be run at other parameters than its own: what every probe's pass does.

At theta_t itself a pass at lent parameters may agree by mere closeness, because the module's own have hardly moved
since: a backward pass that makes the forward pass again (checkpointing) reads the module's own parameters by then,
and so does whatever keeps a reference to them. Therefore both are compared far away, where the module is put for a
moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bncore.external.checks import ObserveError
from bncore.probes.compare import whole
from bncore.probes.guard import ieee_float32
from bncore.probes.rng_state import RngState

DISTANCES = (0.05, 0.005, 0.0005)
"""How far away, in units of each parameter's size; the next one where the loss is not finite there."""

Gradient = tuple[Tensor, list[Tensor | None]]
"""Loss and its gradient."""


@dataclass(frozen=True)
class TrialPass:
    """A step's forward and backward pass, but for the parameters."""

    net: nn.Module
    loss_at: Callable[[Any], Tensor]
    """The loss of outputs."""
    inputs: Tensor
    buffers: Mapping[str, Tensor]
    draws: RngState
    """The generators at the beginning, as the buffers."""
    names: tuple[str, ...]
    """Of the parameters with a gradient."""


def check_lent_parameters(trial: TrialPass, before: Mapping[str, Tensor], allowed: float) -> None:
    """Make sure that loss and gradient at lent parameters are those of the module when it has them.

    Arguments:
        before: the parameters of the step.
        allowed: relative distance of two gradients that are the same.

    Raises:
        ObserveError: they are not.
    """
    for distance in DISTANCES:
        there = _moved(before, trial.names, distance)
        with ieee_float32():
            trial.draws.restore()
            lent = _lent(trial, there)
            with _put(trial.net, {**there, **trial.buffers}):
                trial.draws.restore()
                own = _own(trial)
        if bool(torch.isfinite(torch.stack([lent[0], own[0]])).all()):
            _compare(lent, own, allowed)
            return


def _moved(before: Mapping[str, Tensor], names: tuple[str, ...], distance: float) -> dict[str, Tensor]:
    source = torch.Generator().manual_seed(0)  # of our own: the loop's are left alone
    moved = dict(before)
    for name in names:
        theta = before[name]
        step = torch.randn(theta.shape, generator=source, dtype=theta.dtype).to(theta.device)
        moved[name] = theta + distance * (theta.square().mean().sqrt() + 0.1) * step
    return moved


def _lent(trial: TrialPass, there: Mapping[str, Tensor]) -> Gradient:
    leaves = {name: there[name].detach().requires_grad_() for name in trial.names}
    own = {name: buffer.clone() for name, buffer in trial.buffers.items()}
    outputs = functional_call(trial.net, {**own, **there, **leaves}, (trial.inputs,))
    return _gradient(trial.loss_at(outputs), list(leaves.values()))


def _own(trial: TrialPass) -> Gradient:
    parameters = dict(trial.net.named_parameters())
    outputs = trial.net(trial.inputs)
    return _gradient(trial.loss_at(outputs), [parameters[name] for name in trial.names])


def _gradient(loss: Tensor, parameters: list[Tensor] | list[nn.Parameter]) -> Gradient:
    return loss.detach(), list(torch.autograd.grad(loss, parameters, allow_unused=True))


@contextmanager
def _put(net: nn.Module, there: Mapping[str, Tensor]) -> Iterator[None]:
    """The module itself with these parameters and buffers, its parameters without hooks; then as before, to the
    bit.

    Written through `data`, so that no graph of the loop's takes offense.
    """
    live: dict[str, Tensor] = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    kept = {name: tensor.data.clone() for name, tensor in live.items()}
    registered = [(module, dict(module._buffers)) for module in net.modules()]
    hooks = [(p, p._backward_hooks) for p in net.parameters() if p._backward_hooks]
    try:
        for parameter, _ in hooks:
            parameter._backward_hooks = None
        for name, tensor in there.items():
            live[name].data.copy_(tensor)
        yield
    finally:
        for module, own in registered:
            module._buffers.clear()
            module._buffers.update(own)
        for name, tensor in kept.items():
            live[name].data.copy_(tensor)
        for parameter, own_hooks in hooks:
            parameter._backward_hooks = own_hooks


def _compare(lent: Gradient, own: Gradient, allowed: float) -> None:
    pairs = [(a, b) for a, b in zip(lent[1], own[1], strict=True) if a is not None or b is not None]
    one_sided = any(a is None or b is None for a, b in pairs)
    both = [(a, b) for a, b in pairs if a is not None and b is not None]
    compared = whole([b for _, b in both], [a for a, _ in both]) if both else None
    apart = one_sided or compared is None or not float(compared.l2) <= allowed * float(compared.length)
    if apart or not torch.isclose(lent[0], own[0], rtol=allowed, atol=0.0):
        raise ObserveError(
            "model: run at other parameters than its own, it gives another loss or gradient than when it has them "
            "itself; expected one that reads its parameters in each forward pass, and not in the backward pass "
            "again: activation checkpointing, parameters kept elsewhere and caches of them make it another"
        )
