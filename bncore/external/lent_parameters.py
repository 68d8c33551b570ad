"""Check that a module can be run at parameters other than its own, as every probe does.

At theta_t itself, a pass at lent parameters may agree just because the module's own parameters have hardly moved
since; code that keeps a reference to them reads those instead. Therefore both are compared at a distant point, to
which the module is moved temporarily.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bncore.external.checks import ObserveError
from bncore.probes.compare import whole
from bncore.probes.module import ModuleView, summed_gradient

DISTANCES = (0.05, 0.005, 0.0005)
"""Distances to try, relative to each parameter's size; the next one is used if the loss is not finite."""

DRAWS = (
    "loss: two passes at the same parameters, on the same batch, from the same states of the generators of torch, "
    "Python and numpy differ; expected no draws from a generator of the loss's or a module's own, and no memory "
    "of passes"
)
READS = (
    "model: run at other parameters than its own, it gives another loss or gradient than when it has them itself; "
    "expected one that reads its parameters in each forward pass: parameters kept elsewhere and caches of them "
    "make it another"
)

Gradient = tuple[Tensor, list[Tensor]]
"""Loss and gradient."""


def check_checkpointing(view: ModuleView) -> None:
    """Check that a gradient with respect to given tensors is complete.

    Raises:
        ObserveError: reentrant activation checkpointing hides parameters from it.
    """
    leaves = {name: view.before[name].detach().requires_grad_() for name in view.before}
    seen: set[object] = set()
    nodes = [view.own_loss_at(leaves).grad_fn]
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        if type(node).__name__ == "CheckpointFunctionBackward":
            raise ObserveError(
                "model: activation checkpointing with use_reentrant=True, of which torch gives no gradient with "
                "respect to given parameters; expected use_reentrant=False"
            )
        seen.add(node)
        nodes += [before for before, _ in node.next_functions]


def check_lent_parameters(view: ModuleView, allowed: float) -> None:
    """Check that loss and gradient at lent parameters equal those of the module when it holds them itself.

    Arguments:
        view: the step.
        allowed: relative distance up to which two gradients count as equal.

    Raises:
        ObserveError: they differ.
    """
    for distance in DISTANCES:
        there = _moved(view.before, tuple(view.grads), distance)
        lent = _lent(view, there)
        with _put(view.net, {**there, **view.buffers}):
            own = _own(view)
        if bool(torch.isfinite(torch.stack([lent[0], own[0]])).all()):
            if _apart(lent, own, allowed):
                raise ObserveError(DRAWS if _apart(lent, _lent(view, there), allowed) else READS)
            return


def _moved(before: Mapping[str, Tensor], names: tuple[str, ...], distance: float) -> dict[str, Tensor]:
    source = torch.Generator().manual_seed(0)  # our own generator; the loop's are not touched
    moved = dict(before)
    for name in names:
        theta = before[name]
        step = torch.randn(theta.shape, generator=source, dtype=theta.dtype).to(theta.device)
        moved[name] = theta + distance * (theta.square().mean().sqrt() + 0.1) * step
    return moved


def _lent(view: ModuleView, there: Mapping[str, Tensor]) -> Gradient:
    loss, grads = view.gradient_at(there)
    return loss, list(grads.values())


def _own(view: ModuleView) -> Gradient:
    parameters = dict(view.net.named_parameters())
    with torch.enable_grad():
        loss, grads = summed_gradient(view.terms(view.net), [parameters[name] for name in view.grads])
    zeros = (torch.zeros_like(parameters[name]) for name in view.grads)
    given = [zero if g is None else g for g, zero in zip(grads, zeros, strict=True)]
    loss, *reduced = view.mean([loss, *given])
    return loss, reduced


@contextmanager
def _put(net: nn.Module, there: Mapping[str, Tensor]) -> Iterator[None]:
    """Within the context, the module itself holds these parameters and buffers, without parameter hooks.
    Afterwards it is restored bit for bit.

    Values are written through `data`, so that autograd graphs of the loop stay valid.
    """
    live: dict[str, Tensor] = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    originals = {name: tensor.data.clone() for name, tensor in live.items()}
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
        for name, tensor in originals.items():
            live[name].data.copy_(tensor)
        for parameter, own_hooks in hooks:
            parameter._backward_hooks = own_hooks


def _apart(one: Gradient, other: Gradient, allowed: float) -> bool:
    compared = whole(other[1], one[1])
    far = not float(compared.l2) <= allowed * float(compared.length)
    return far or not bool(torch.isclose(one[0], other[0], rtol=allowed, atol=0.0))
