"""Recomputation of a step of an external loop: the captured step, and the view that probes read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor, nn

from bncore.external.checks import ObserveError
from bncore.external.fidelity import Fidelity, compared, fidelity, require_same, tolerance
from bncore.external.lent_parameters import check_checkpointing, check_lent_parameters
from bncore.external.precision import autocast_seen, without_autocast
from bncore.nets import LayeredNet
from bncore.probes.batches import MicroBatch, RngState
from bncore.probes.compare import length
from bncore.probes.guard import Autocast, ieee_float32
from bncore.probes.layer_map import LayerMap, watched
from bncore.probes.module import BatchLoss, ModuleView, summed_gradient
from bncore.probes.processes import Processes
from bncore.probes.sequential import TracedForward, traced_forwards

SCALES = (2.0**16, 2.0**12, 2.0**8, 2.0**4)
"""Loss scales to try in turn, in place of a gradient scaler's own, which only some optimizers receive."""


@dataclass
class CapturedStep:
    """What is copied while an external loop makes one step."""

    step: int
    micro_batches: list[MicroBatch] = field(default_factory=list)
    loss: float | None = None
    """The loss that the loop recorded; None if it recorded none."""
    before: dict[str, Tensor] = field(default_factory=dict)
    """The parameters at the start of the step, which are the same just before the update, by name."""
    grads: dict[str, Tensor] = field(default_factory=dict)
    """The unscaled gradients of the updated parameters just before the update, by name."""
    buffers: dict[str, Tensor] = field(default_factory=dict)
    """The buffers at the start of the step."""
    autocast: Autocast = field(default_factory=Autocast)
    """The autocast state around the step."""
    rates: dict[str, float] = field(default_factory=dict)
    """The learning rate of this update for each parameter; NaN if there is none."""
    stability: float = math.nan
    """The optimizer's stability threshold at this update; NaN if it has none."""


@dataclass(frozen=True)
class RecomputedStep:
    """The view of a recomputed step, and how its gradient compares with the loop's own."""

    view: ModuleView
    fidelity: Fidelity


@dataclass(frozen=True)
class Recomputation:
    """How steps are recomputed.

    Arguments:
        net: the live module.
        batch_loss: its loss on a micro-batch.
        seed: seed of the probes' random draws.
        strict: whether loss and gradient must match the loop's.
        autocast: whether probes compute under the loop's autocast.
        processes: the processes that make an update together.
        traces: whether to trace the step's own passes, for ICS.
    """

    net: nn.Module
    batch_loss: BatchLoss
    seed: int
    strict: bool
    autocast: bool
    processes: Processes
    traces: bool = False

    def of(self, captured: CapturedStep, layer_map: LayerMap | None) -> RecomputedStep:
        """Recompute a captured step; call within `bncore.probes.guard.undisturbed`.

        If the loop's precision differs from the probes', the step is computed twice: once as in the loop, for
        comparison, and once in IEEE float32, as the basis of measurements.

        Arguments:
            layer_map: the network's layers; None: the layers are determined during this step, and the module is
                checked at other parameters.

        Raises:
            ObserveError: the step cannot be recomputed, or differs from the loop's and the check is strict.
        """
        layer_maps = [layer_map] if layer_map is not None else []
        looking = watched(self.net, layer_maps) if not layer_maps else nullcontext()
        casts = {dtype for dtype in [captured.autocast.dtype] if dtype is not None}
        with looking, captured.autocast.region(), autocast_seen(casts), self._traced() as forwards:
            view = self._view(captured)
        view = replace(view, layer_map=layer_maps[0], forwards=forwards)
        if layer_map is None:  # the first step
            check_checkpointing(view)
        if torch.float16 in casts:
            view = _scaled(view, captured.autocast)
        own = next(iter(captured.before.values())).dtype
        kinds = list(casts) or [own]
        allowed = max(map(tolerance, kinds))
        recorded = None if self.processes.joined else captured.loss  # that of its own batch only
        same = fidelity(captured.grads, view.grads, recorded=recorded, loss=view.loss, allowed=allowed)
        if self.strict:
            require_same(captured.grads, view.grads, same, recorded=recorded, loss=view.loss)
        exact = self._exact(view, captured, casts=bool(casts))
        with self.precision(captured):
            if layer_map is None:
                check_lent_parameters(exact, allowed if self.autocast else tolerance(own))
        return RecomputedStep(
            exact,
            replace(
                same,
                precision=self._said(captured, kinds[0]),
                batch=self.processes.batch,
                precision_deviation=math.nan if exact is view else compared(captured.grads, exact.grads)[0],
            ),
        )

    @contextmanager
    def precision(self, captured: CapturedStep) -> Iterator[None]:
        """A context with the probes' precision: IEEE float32, or the loop's own autocast."""
        region = captured.autocast
        with region.region() if self.autocast else without_autocast(region.device_type), ieee_float32():
            yield

    def _said(self, captured: CapturedStep, kind: torch.dtype) -> str:
        own = next(iter(captured.before.values())).dtype
        name = str(kind if self.autocast else own).removeprefix("torch.")
        return f"{name} autocast" if self.autocast and kind != own else name

    def _exact(self, view: ModuleView, captured: CapturedStep, *, casts: bool) -> ModuleView:
        """The view with its gradient in the probes' precision; the same view if it is already."""
        if self.autocast or not (casts or view.device.type != "cpu"):
            return view
        with self.precision(captured), self._traced() as forwards:
            loss, grads = view.gradient_at(view.before)
        lr, rates = _rate(captured.rates, grads)
        return replace(view, loss=float(loss), grads=grads, lr=lr, rates=rates, forwards=forwards)

    def _traced(self) -> AbstractContextManager[Sequence[TracedForward]]:
        return traced_forwards(self.net) if self.traces else nullcontext(())

    def _view(self, captured: CapturedStep) -> ModuleView:
        """The view of the step in the loop's own precision."""
        leaves = {name: captured.before[name].detach().requires_grad_() for name in captured.grads}
        view = ModuleView(
            step=captured.step,
            seed=self.seed,
            net=cast(LayeredNet, self.net),
            batch_loss=self.batch_loss,
            micro_batches=tuple(captured.micro_batches),
            before=captured.before,
            buffers=captured.buffers,
            grads=leaves,  # placeholders until the gradients are known
            loss=math.nan,
            lr=math.nan,
            stability=captured.stability,
            processes=self.processes,
        )
        drew: list[bool] = []

        def work(net: nn.Module) -> tuple[Tensor, list[Tensor | None]]:
            return summed_gradient(_checked(view, net, drew), list(leaves.values()))

        loss, slopes = view.within({**captured.before, **leaves}, work)
        names = [name for name, g in zip(leaves, slopes, strict=True) if g is not None]
        loss, *reduced = view.mean([loss, *(g for g in slopes if g is not None)])
        grads = dict(zip(names, reduced, strict=True))
        batches = tuple(
            micro if random else replace(micro, draws=None)
            for micro, random in zip(captured.micro_batches, drew, strict=True)
        )
        lr, rates = _rate(captured.rates, grads)
        return replace(view, loss=float(loss), grads=grads, micro_batches=batches, lr=lr, rates=rates)


def _scaled(view: ModuleView, autocast: Autocast) -> ModuleView:
    """The view with its gradient computed with loss scaling, so that little underflows in float16; unchanged if
    the gradient overflows at every scale."""
    for scale in SCALES:
        scaled = tuple(replace(micro, weight=scale * micro.weight) for micro in view.micro_batches)
        with autocast.region():
            _, grads = replace(view, micro_batches=scaled).gradient_at(view.before)
        if all(bool(g.isfinite().all()) for g in grads.values()):
            return replace(view, grads={name: g / scale for name, g in grads.items()})
    return view


def _checked(view: ModuleView, net: nn.Module, drew: list[bool]) -> Iterator[Tensor]:
    """The loss terms, checked to be scalars; `drew` receives for each whether its pass drew from a generator."""
    terms = view.terms(net)
    for micro in view.micro_batches:
        loss = next(terms)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise ObserveError("loss: expected one number, the loss of the batch, as a tensor")
        drew.append(micro.draws is None or not RngState.now().same_as(micro.draws))
        yield loss.view(())


def _rate(
    rates: Mapping[str, float], grads: Mapping[str, Tensor]
) -> tuple[float, Mapping[str, float] | None]:
    """The learning rate and None; if parameters have different rates, ||rates * g|| / ||g|| and the rates."""
    distinct = {rates[name] for name in grads}
    if len(distinct) <= 1 or any(map(math.isnan, distinct)):
        return distinct.pop() if len(distinct) == 1 else math.nan, None
    each = {name: rates[name] for name in grads}
    size = float(length(list(grads.values())))
    moved = float(length([rates[name] * g for name, g in grads.items()]))
    return (moved / size if size else math.nan), each
