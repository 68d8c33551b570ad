"""The growing batch (`bncore.probes.growing`) for any `nn.Sequential`, by the kinds of its modules.

A module that treats each sample by itself takes all chains at once; any other (batch normalization, dropout,
unknown modules) takes them one by one, each with the buffers and draws of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bncore.probes.batches import RngState
from bncore.probes.growing import groups_of
from bncore.probes.guard import Autocast
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


@dataclass
class TracedForward:
    """A call of a network, and of the modules that it calls in sequence."""

    x: Tensor | None
    """Input of the network; None unless that is one tensor, without gradient."""
    autocast: Autocast
    """Autocast settings of the call."""
    calls: list[nn.Module] = field(default_factory=list)
    """Modules called since."""
    parts: list[_Part] = field(default_factory=list)
    left: RngState | None = None
    """Generator states after the last part; None: nothing is drawn."""

    def without_draws(self) -> TracedForward:
        return replace(self, parts=[replace(part, draws=None) for part in self.parts], left=None)


@dataclass(frozen=True)
class GrowingSequential:
    """A step of an `nn.Sequential` that its loss calls once for each micro-batch."""

    view: ModuleView
    passes: tuple[TracedForward, ...]

    @staticmethod
    def of(view: ModuleView) -> GrowingSequential | None:
        """The step, or None if the network is not of this kind or has hooks that watch its modules."""
        net: nn.Module = view.net
        if not _is_sequential(net):
            return None
        if len(view.micro_batches) > 1 and any(m._buffers and not _of_torch(m) for m in net.modules()):
            return None  # a micro-batch may read what the previous one left in the buffers
        passes: Sequence[TracedForward] = view.forwards
        if not passes:
            with traced_forwards(net) as passes:
                view.within(view.before, lambda net: [None for _ in view.terms(net)])
        modules = [module for _, module in _parts(net)]
        if len(passes) != len(view.micro_batches) or any(
            one.x is None or one.calls != [net, *modules] or len(one.parts) < len(modules) for one in passes
        ):
            return None
        drawn = zip(view.micro_batches, passes, strict=True)
        return GrowingSequential(
            view, tuple(one.without_draws() if micro.draws is None else one for micro, one in drawn)
        )

    def activation_share(self, layer: int) -> float:
        """Share of a training step's activations from a layer on."""
        sizes = [part.size for part in self.passes[0].parts]
        return sum(sizes[_part_index(self.view, self.passes[0], layer) :]) / sum(sizes)

    def gradients(
        self, new: Parameters, layers: Sequence[int], *, group: int, limit: int, budget: float
    ) -> list[Tensor]:
        """G'_i of the chosen layers; arguments as for `bncore.probes.growing.growing_batch`."""
        groups = groups_of(layers, self.activation_share, group=group, limit=limit, budget=budget)
        each = [
            _Growing(replace(self.view, micro_batches=(micro,)), one, new).run(groups)
            for micro, one in zip(self.view.micro_batches, self.passes, strict=True)
        ]
        return self.view.mean([sum(of_layer[1:], of_layer[0]) for of_layer in zip(*each, strict=True)])


@dataclass(frozen=True)
class _Growing:
    """One evaluation of the growing batch on one micro-batch."""

    view: ModuleView
    """The step restricted to this micro-batch."""
    traced: TracedForward
    new: Parameters

    def run(self, groups: Sequence[Sequence[int]]) -> list[Tensor]:
        gradients: list[Tensor] = []
        assert self.traced.x is not None
        prefix, reached = self.traced.x, 0
        for group in groups:
            leaves: dict[int, Tensor] = {}
            chains: list[Tensor] = []
            part_indices = [_part_index(self.view, self.traced, layer) for layer in group]
            for index in range(reached, len(self.traced.parts)):
                chains = self._old(index, chains)
                for layer in (layer for layer, at in zip(group, part_indices, strict=True) if at == index):
                    chains += self._call(index, self._mixed(layer, leaves), [prefix.clone()])
                if index < part_indices[-1]:
                    with torch.no_grad():
                        (prefix,) = self._call(index, self.new, [prefix.clone()])  # modules may write to it
            reached = part_indices[-1]
            gradients += self._gradients(chains, leaves)
        return gradients

    def _mixed(self, layer: int, leaves: dict[int, Tensor]) -> Parameters:
        """Updated parameters before this layer, old ones elsewhere; its weight is a variable, kept in `leaves`."""
        view = self.view
        weight = view.weights[layer]
        leaf = leaves.setdefault(layer, view.before[weight].detach().requires_grad_())
        mixed = {n: (self.new if view.layer_of(n) < layer else view.before)[n] for n in view.before}
        return {**mixed, weight: leaf}

    def _old(self, index: int, chains: list[Tensor]) -> list[Tensor]:
        """The output of the old part for all chains."""
        before = self.view.before
        if len(chains) > 1 and self.traced.parts[index].by_sample:
            (joined,) = self._call(index, before, [torch.cat(chains)])
            return list(joined.chunk(len(chains)))
        return self._call(index, before, chains)

    def _call(self, index: int, parameters: Parameters, given: Sequence[Tensor]) -> list[Tensor]:
        """The output of a part for each input."""
        part = self.traced.parts[index]
        outputs: list[Tensor] = []
        with self.traced.autocast.region():
            for x in given:
                if part.draws is not None:
                    part.draws.restore()
                with self._lent(part.slots, parameters):
                    outputs.append(part.module(x))
        return outputs

    @contextmanager
    def _lent(self, slots: Sequence[_Slot], parameters: Parameters) -> Iterator[None]:
        """Let the modules temporarily have these parameters and the buffers of the step."""
        buffers, own = self.view.buffers, [slot.table[slot.key] for slot in slots]
        try:
            for table, key, name in slots:
                table[key] = parameters[name] if name in parameters else buffers[name].clone()
            yield
        finally:
            for slot, tensor in zip(slots, own, strict=True):
                slot.table[slot.key] = tensor

    def _gradients(self, chains: list[Tensor], leaves: dict[int, Tensor]) -> list[Tensor]:
        """The gradients of the chains' losses: no two chains share a variable."""
        view, slots = self.view, _slots(self.view.net)
        losses: list[Tensor] = []
        with _giving(self.traced, chains):
            for layer in list(leaves):
                with self._lent(slots, self._mixed(layer, leaves)):
                    losses += view.terms(view.net)
        slopes = torch.autograd.grad(torch.stack(losses).sum(), list(leaves.values()), allow_unused=True)
        return [torch.zeros_like(p) if g is None else g for p, g in zip(leaves.values(), slopes, strict=True)]


def _part_index(view: ModuleView, traced: TracedForward, layer: int) -> int:
    """Index of the part that contains a layer."""
    weight = view.weights[layer]
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


def _is_sequential(net: nn.Module) -> bool:
    """Whether it is an `nn.Sequential` of distinct modules and parameters, which no hook watches."""
    modules = [module for _, module in _parts(net)]
    tied = len(list(net.named_parameters(remove_duplicate=False))) > len(list(net.parameters()))
    watched = any(m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m) for m in net.modules())
    return type(net) is nn.Sequential and not (watched or tied) and len({*modules}) == len(modules)


@contextmanager
def traced_forwards(net: nn.Module) -> Iterator[list[TracedForward]]:
    """Trace the calls of an `nn.Sequential` within the context, in order; of another network none."""
    names = {module: name for name, module in _parts(net)} if _is_sequential(net) else {}
    forwards: list[TracedForward] = []
    entered: list[tuple[RngState, bool]] = []
    last = next(reversed(names), None)

    def before(module: nn.Module, args: tuple[Any, ...]) -> None:
        x = args[0] if len(args) == 1 and isinstance(args[0], Tensor) else None
        if module is net or not forwards:
            forwards.append(_entered(x))
        forwards[-1].calls.append(module)
        if module is not net:
            entered[:] = [(RngState.now(), x is not None and _by_sample(module, x))]

    def after(module: nn.Module, _args: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim:
            slots = _slots(module, f"{names[module]}.")
            forwards[-1].parts.append(_Part(names[module], module, *entered[-1], output.numel(), slots))
        if module is last:
            forwards[-1].left = RngState.now()

    hooks = [m.register_forward_pre_hook(before) for m in (net, *names) if names]
    hooks += [m.register_forward_hook(after) for m in names]
    try:
        yield forwards
    finally:
        for hook in hooks:
            hook.remove()


def _entered(x: Tensor | None) -> TracedForward:
    autocast = Autocast.now("cpu" if x is None else x.device.type)
    differentiated = x is not None and x.requires_grad  # by the loss
    return TracedForward(None if x is None or differentiated else x.detach().clone(), autocast)


def _by_sample(module: nn.Module, x: Tensor) -> bool:
    if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.modules.dropout._DropoutNd):
        of_its_own = getattr(module, "running_mean", x) is not None
        return not module.training and of_its_own and _of_torch(module)
    return type(module) in BY_SAMPLE and BY_SAMPLE[type(module)](module, x)


def _of_torch(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.nn.")


@contextmanager
def _giving(traced: TracedForward, outputs: Sequence[Tensor]) -> Iterator[None]:
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
