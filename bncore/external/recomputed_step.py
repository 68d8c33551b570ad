"""A step of an external loop, recomputed: what was captured of it, and the check that it is understood."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bncore.external.checks import ObserveError
from bncore.external.lent_parameters import TrialPass, check_lent_parameters
from bncore.nets import LayeredNet
from bncore.probes.compare import length, whole
from bncore.probes.guard import ieee_float32
from bncore.probes.layer_map import LayerMap, watched
from bncore.probes.module import ModuleView
from bncore.probes.rng_state import RngState

Criterion = Callable[[Any, Any], Tensor]
EXPECTED = "expected the gradient of loss_fn(model(inputs), targets) on this one batch"


@dataclass(frozen=True)
class CapturedStep:
    """What was copied while a person's loop made one step."""

    step: int
    inputs: Tensor
    targets: Any
    loss: float
    """As the loop computed it."""
    before: Mapping[str, Tensor]
    """The parameters at the beginning of the step, which they still have just before the update, by name."""
    grads: Mapping[str, Tensor]
    """What the `grad` of those that the optimiser updates held then."""
    buffers: Mapping[str, Tensor]
    """The buffers at the beginning of the step."""
    draws: RngState
    """The generators at the beginning of the step."""
    lr: float
    """Of this update; NaN where groups of parameters differ."""
    stability: float
    """The optimizer's stability threshold then; NaN where it has none."""


@dataclass(frozen=True)
class RecomputedStep:
    """The view of a step, and how the loop's own gradient was related to it."""

    view: ModuleView
    scale: float
    """The loop's gradient at the update, in gradients of the loss; below 1 where it was clipped."""


def reproduced(
    net: nn.Module, criterion: Criterion, caught: CapturedStep, *, seed: int, layer_map: LayerMap | None
) -> RecomputedStep:
    """Recompute the step from what was captured, and make sure that loss and gradient come out as in the loop.

    The gradient that probes start from is the one computed here: on a GPU in IEEE float32, whatever the loop uses.
    To be called within `bncore.probes.guard.undisturbed`.

    Arguments:
        layer_map: the network's layers; None: to be found on the way.

    Raises:
        ObserveError: they come out otherwise, so that every number would be of something else than the training.
    """
    found = [layer_map] if layer_map is not None else []
    with watched(net, found) if not found else nullcontext():
        loss, grads, drew = _again(net, criterion, caught)
    _check_loss(caught.loss, loss)
    scale = _scale(caught.grads, grads, float(loss))
    if layer_map is None:  # the first step
        trial = TrialPass(
            net,
            lambda outputs: criterion(outputs, caught.targets),
            caught.inputs,
            caught.buffers,
            caught.draws,
            tuple(grads),
        )
        check_lent_parameters(trial, caught.before, tolerance(loss.dtype))
    view = ModuleView(
        caught.step,
        seed,
        cast(LayeredNet, net),
        criterion,
        caught.inputs,
        caught.targets,
        caught.before,
        caught.buffers,
        grads,
        float(loss),
        caught.lr,
        stability=caught.stability,
        layer_map=found[0],
        draws=caught.draws if drew else None,
    )
    if caught.inputs.device.type != "cpu":
        with ieee_float32():
            exact, exact_grads = view.gradient_at(caught.before)
        view = replace(view, loss=float(exact), grads=exact_grads)
    return RecomputedStep(view, scale)


def _again(
    net: nn.Module, criterion: Criterion, caught: CapturedStep
) -> tuple[Tensor, dict[str, Tensor], bool]:
    """Loss, gradient by name of the parameters that take part, and whether anything was drawn."""
    leaves = {name: caught.before[name].detach().requires_grad_() for name in caught.grads}
    lent = {name: buffer.clone() for name, buffer in caught.buffers.items()}
    caught.draws.restore()
    outputs = functional_call(net, {**lent, **caught.before, **leaves}, (caught.inputs,))
    loss = criterion(outputs, caught.targets)
    drew = not RngState.now().same_as(caught.draws)
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise ObserveError("loss_fn: expected one number, the loss of the batch, as a tensor")
    slopes = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    grads = {name: g for name, g in zip(leaves, slopes, strict=True) if g is not None}
    return loss.detach(), grads, drew


def tolerance(precision: torch.dtype) -> float:
    """How far, relative to its size, a number may be from the loop's own: kernels that add in another order every
    time stay far within it, half precision does not."""
    return float(torch.finfo(precision).eps ** 0.5)


def _check_loss(recorded: float, again: Tensor) -> None:
    known = float(again)
    allowed = tolerance(again.dtype) * max(abs(recorded), abs(known))
    if recorded == known or abs(recorded - known) <= allowed or math.isnan(recorded + known):
        return
    raise ObserveError(
        f"loss: {recorded:.6g} was recorded, loss_fn(model(inputs), targets) gives {known:.6g}; expected "
        "the same: a loss that is scaled, divided for accumulation or holds a penalty, autocast, a batch that was "
        "changed on its way to the model, and a module with a generator of its own make it another"
    )


def _scale(held: Mapping[str, Tensor], again: Mapping[str, Tensor], loss: float) -> float:
    """The loop's gradient in gradients of the loss, at most 1.

    Raises:
        ObserveError: it is another vector, or longer.
    """
    names = [name for name in held if name in again]
    idle = [name for name in held if name not in again and bool(held[name].any())]
    if idle:
        raise ObserveError(
            f"gradient: {idle[0]}.grad is not 0, though the loss does not depend on it; {EXPECTED}"
        )
    if not names:
        raise ObserveError(f"gradient: no parameter has one at the update; {EXPECTED}")
    if any(held[name].layout != torch.strided for name in names):
        raise ObserveError("gradient: sparse; expected a dense one (an embedding's sparse=False)")
    compared = whole([again[n] for n in names], [held[n] for n in names])
    size, apart = float(compared.length), float(compared.l2)
    if not (math.isfinite(size) and math.isfinite(apart)):
        if math.isfinite(loss) and math.isfinite(size):
            raise ObserveError(
                f"gradient: not finite at the update, as a gradient scaler leaves it; {EXPECTED}"
            )
        raise ArithmeticError("the gradient is not finite")
    allowed = tolerance(again[names[0]].dtype)
    if apart <= allowed * size:
        return 1.0
    scale = float(length([held[n] for n in names])) / size if size else math.inf
    turned = float(compared.one_minus_cosine)
    if turned <= allowed**2 and scale < 1:
        return scale
    if turned <= allowed**2:
        raise ObserveError(
            f"gradient: at the update it is {scale:.6g} times that of the loss; {EXPECTED}: a gradient scaler has "
            "to be unscaled before the update"
        )
    raise ObserveError(
        f"gradient: at the update it is {apart:.3g} away from that of the loss, {size:.3g} long (cosine "
        f"{1 - turned:.4f}); {EXPECTED}: accumulation over batches, autocast, averaging over processes, "
        "activation checkpointing, hooks and clipping by value make it another"
    )
