"""The growing batch (`bncore.probes.growing`) for any `nn.Sequential`, by the kinds of its modules.

A module that treats each sample by itself takes all chains at once; any other (batch normalization, dropout,
unknown modules) takes them one by one, each with the buffers and draws of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bncore.probes.batches import RngState
from bncore.probes.growing import groups_of
from bncore.probes.module import ModuleView
from bncore.probes.view import Parameters

BY_SAMPLE: dict[type[nn.Module], Callable[[Any, Tensor], bool]] = {
    **dict.fromkeys(
        (
            nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh,
            nn.Sigmoid, nn.Hardtanh, nn.Hardswish, nn.Softplus, nn.GroupNorm,
            nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
            nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
            nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
        ),
        lambda module, x: True,
    ),
    nn.Linear: lambda module, x: x.ndim > 1,
    nn.Embedding: lambda module, x: x.ndim > 0 and module.max_norm is None,
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), lambda module, x: x.ndim == module.weight.ndim),
    **dict.fromkeys((nn.LayerNorm, nn.RMSNorm), lambda module, x: x.ndim > len(module.normalized_shape)),
    nn.Flatten: lambda module, x: module.start_dim > 0,
}  # fmt: skip
"""Modules, with a condition on the input, that treat each sample along its first dimension by itself."""


class _Slot(NamedTuple):
    """The place where a module keeps a parameter or buffer."""

    table: dict[str, Any]
    key: str
    name: str
    """Name of the parameter or buffer in the network."""


@dataclass(frozen=True)
class _Part:
    """A module in the sequence, and the circumstances of its call in the step."""

    name: str
    module: nn.Module
    draws: RngState | None
    """Generator states at its call; None: nothing is drawn."""
    by_sample: bool
    size: int
    """Number of values in its output."""
    slots: tuple[_Slot, ...]


@dataclass(frozen=True)
class _TracedForward:
    """A forward pass of the step on one micro-batch."""

    view: ModuleView
    """The step restricted to this micro-batch."""
    x: Tensor
    """Input of the network."""
    autocast: torch.autocast
    """Autocast settings of the call."""
    parts: tuple[_Part, ...]
    left: RngState | None
    """Generator states after the last part."""


@dataclass(frozen=True)
class GrowingSequential:
    """A step of an `nn.Sequential` that its loss calls once for each micro-batch."""

    view: ModuleView
    passes: tuple[_TracedForward, ...]

    @staticmethod
    def of(view: ModuleView) -> GrowingSequential | None:
        """The step, or None if the network is not of this kind or has hooks that watch its modules."""
        net: nn.Module = view.net
        named = list(_parts(net))
        modules = [module for _, module in named]
        tied = len(list(net.named_parameters(remove_duplicate=False))) > len(list(net.parameters()))
        watched = any(m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m) for m in net.modules())
        if type(net) is not nn.Sequential or watched or tied or len({*modules}) != len(modules):
            return None
        if len(view.micro_batches) > 1 and any(m._buffers and not _of_torch(m) for m in net.modules()):
            return None  # a micro-batch may read what the previous one left in the buffers
        passes = []
        for micro in view.micro_batches:
            one = _seen(replace(view, micro_batches=(micro,)), named)
            if one is None:
                return None
            passes.append(one)
        return GrowingSequential(view, tuple(passes))

    def held(self, layer: int) -> float:
        """Share of a training step's activations from a layer on."""
        sizes = [part.size for part in self.passes[0].parts]
        return sum(sizes[_place(self.passes[0], layer) :]) / sum(sizes)

    def gradients(
        self, new: Parameters, layers: Sequence[int], *, group: int, limit: int, budget: float
    ) -> list[Tensor]:
        """G'_i of the chosen layers; arguments as for `bncore.probes.growing.growing_batch`."""
        groups = groups_of(layers, self.held, group=group, limit=limit, budget=budget)
        each = [_Growing(one, new).run(groups) for one in self.passes]
        return self.view.mean([sum(of_layer[1:], of_layer[0]) for of_layer in zip(*each, strict=True)])


@dataclass(frozen=True)
class _Growing:
    """One evaluation of the growing batch on one micro-batch."""

    traced: _TracedForward
    new: Parameters

    def run(self, groups: Sequence[Sequence[int]]) -> list[Tensor]:
        gradients: list[Tensor] = []
        prefix, reached = self.traced.x, 0
        for group in groups:
            leaves: dict[int, Tensor] = {}
            chains: list[Tensor] = []
            places = [_place(self.traced, layer) for layer in group]
            for index in range(reached, len(self.traced.parts)):
                chains = self._old(index, chains)
                for layer in (layer for layer, at in zip(group, places, strict=True) if at == index):
                    chains += self._call(index, self._mixed(layer, leaves), [prefix.clone()])
                if index < places[-1]:
                    with torch.no_grad():
                        (prefix,) = self._call(index, self.new, [prefix.clone()])  # modules may write to it
            reached = places[-1]
            gradients += self._gradients(chains, leaves)
        return gradients

    def _mixed(self, layer: int, leaves: dict[int, Tensor]) -> Parameters:
        """Updated parameters before this layer, old ones elsewhere; its weight is a variable, kept in `leaves`."""
        view = self.traced.view
        weight = view.weights[layer]
        leaf = leaves.setdefault(layer, view.before[weight].detach().requires_grad_())
        mixed = {n: (self.new if view.layer_of(n) < layer else view.before)[n] for n in view.before}
        return {**mixed, weight: leaf}

    def _old(self, index: int, chains: list[Tensor]) -> list[Tensor]:
        """The output of the old part for all chains."""
        before = self.traced.view.before
        if len(chains) > 1 and self.traced.parts[index].by_sample:
            (joined,) = self._call(index, before, [torch.cat(chains)])
            return list(joined.chunk(len(chains)))
        return self._call(index, before, chains)

    def _call(self, index: int, parameters: Parameters, given: Sequence[Tensor]) -> list[Tensor]:
        """The output of a part for each input."""
        part = self.traced.parts[index]
        outputs: list[Tensor] = []
        with self.traced.autocast:
            for x in given:
                if part.draws is not None:
                    part.draws.restore()
                with self._lent(part.slots, parameters):
                    outputs.append(part.module(x))
        return outputs

    @contextmanager
    def _lent(self, slots: Sequence[_Slot], parameters: Parameters) -> Iterator[None]:
        """Let the modules temporarily have these parameters and the buffers of the step."""
        buffers, own = self.traced.view.buffers, [slot.table[slot.key] for slot in slots]
        try:
            for table, key, name in slots:
                table[key] = parameters[name] if name in parameters else buffers[name].clone()
            yield
        finally:
            for slot, tensor in zip(slots, own, strict=True):
                slot.table[slot.key] = tensor

    def _gradients(self, chains: list[Tensor], leaves: dict[int, Tensor]) -> list[Tensor]:
        """The gradients of the chains' losses: no two chains share a variable."""
        view, slots = self.traced.view, _slots(self.traced.view.net)
        losses: list[Tensor] = []
        with _giving(self.traced, chains):
            for layer in list(leaves):
                with self._lent(slots, self._mixed(layer, leaves)):
                    losses += view.terms(view.net)
        slopes = torch.autograd.grad(torch.stack(losses).sum(), list(leaves.values()), allow_unused=True)
        return [torch.zeros_like(p) if g is None else g for p, g in zip(leaves.values(), slopes, strict=True)]


def _place(traced: _TracedForward, layer: int) -> int:
    """Index of the part that contains a layer."""
    weight = traced.view.weights[layer]
    return next(i for i, part in enumerate(traced.parts) if weight.startswith(f"{part.name}."))


def _slots(module: nn.Module, within: str = "") -> tuple[_Slot, ...]:
    return tuple(
        _Slot(table, key, f"{within}{name}{'.' if name else ''}{key}")
        for name, owner in module.named_modules()
        for table in (owner._parameters, owner._buffers)
        for key, tensor in table.items()
        if tensor is not None
    )


def _parts(net: nn.Module, within: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The modules that the network calls in sequence, with their names."""
    for name, child in net._modules.items():
        if type(child) is nn.Sequential:
            yield from _parts(child, f"{within}{name}.")
        elif child is not None:
            yield f"{within}{name}", child


def _seen(view: ModuleView, named: Sequence[tuple[str, nn.Module]]) -> _TracedForward | None:
    """The loss's pass through the network; None unless it is one call with a single tensor from part to part."""
    net: nn.Module = view.net
    names = {module: name for name, module in named}
    calls: list[nn.Module] = []
    passes: list[_TracedForward] = []
    parts: list[_Part] = []
    entered: list[tuple[RngState | None, bool]] = []
    left: list[RngState | None] = []

    def draws() -> RngState | None:
        return None if view.micro_batches[0].draws is None else RngState.now()

    def before(module: nn.Module, args: tuple[Any, ...]) -> None:
        calls.append(module)
        alone = len(args) == 1 and isinstance(args[0], Tensor)
        if module is not net:
            entered.append((draws(), alone and _by_sample(module, args[0])))
        elif alone and not args[0].requires_grad:  # a loss may differentiate with respect to the input
            kind = view.device.type
            on = torch.is_autocast_enabled(kind)
            autocast = torch.autocast(kind, dtype=torch.get_autocast_dtype(kind) if on else None, enabled=on)
            passes.append(_TracedForward(view, args[0].detach().clone(), autocast, (), None))

    def after(module: nn.Module, _args: object, output: object) -> None:
        if module is not net and isinstance(output, Tensor) and output.ndim:
            slots = _slots(module, f"{names[module]}.")
            parts.append(_Part(names[module], module, *entered[-1], output.numel(), slots))
        left[:] = [draws()]

    hooks = [m.register_forward_pre_hook(before) for m in (net, *names)]
    hooks += [m.register_forward_hook(after) for m in names]
    try:
        view.own_loss_at(view.before)
    finally:
        for hook in hooks:
            hook.remove()
    if calls != [net, *names] or len(passes) != 1 or len(parts) != len(names):
        return None
    return replace(passes[0], parts=tuple(parts), left=left[-1])


def _by_sample(module: nn.Module, x: Tensor) -> bool:
    if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.modules.dropout._DropoutNd):
        of_its_own = getattr(module, "running_mean", x) is not None
        return not module.training and of_its_own and _of_torch(module)
    return type(module) in BY_SAMPLE and BY_SAMPLE[type(module)](module, x)


def _of_torch(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.nn.")


@contextmanager
def _giving(traced: _TracedForward, outputs: Sequence[Tensor]) -> Iterator[None]:
    """Let the network return these outputs, call by call, whatever its input."""
    remaining = iter(outputs)

    def leave(_: Tensor) -> Tensor:
        if traced.left is not None:
            traced.left.restore()
        return next(remaining)

    *others, last = (vars(part.module) for part in traced.parts)
    try:
        for attributes in others:
            attributes["forward"] = lambda x: x
        last["forward"] = leave
        yield
    finally:
        for attributes in (*others, last):
            attributes.pop("forward", None)
