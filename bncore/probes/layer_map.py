"""The layers of any module, found by watching one forward pass, since registration order guarantees nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

NORMS: tuple[type[nn.Module], ...] = (
    nn.modules.batchnorm._NormBase,  # batch and instance normalization of any dimension
    nn.LayerNorm,
    nn.GroupNorm,
    nn.LocalResponseNorm,
    nn.RMSNorm,
)
"""Modules that count as the normalization of the layer whose output is their input."""

UNITS_LAST = (nn.Linear, nn.Bilinear, nn.Embedding, nn.MultiheadAttention)
"""Modules with the units in the last dimension of their output; in others they are in the second.

Norms over only the last dimension have them there too.
"""


@dataclass(frozen=True)
class LayerMap:
    """The layers of a module.

    Layer i is the i-th weight, that is, parameter of two or more dimensions that does not belong to a norm, in the
    order in which the owning modules are first called.
    """

    order: tuple[str, ...]
    """Names of all parameters in that order; those of a module that is not called itself count with the nearest
    enclosing module that is."""
    weights: tuple[str, ...]
    """Names of W_1, ..., W_k."""
    outputs: Mapping[str, str]
    """Name of the module whose output is the layer's output, by weight.

    This is the norm applied directly to the output of the weight's module, or else that module itself. A weight
    whose module contains other modules or is not called has no entry.
    """


@contextmanager
def watched(net: nn.Module, maps: list[LayerMap]) -> Iterator[None]:
    """Append to `maps` the layer map of the forward passes inside the context, then remove the hooks."""
    names = {id(module): name for name, module in net.named_modules()}  # by id: a metric's hash changes
    calls: dict[str, int] = {}
    outputs: dict[str, str] = {}
    last: list[tuple[str, object, int]] = []

    def before(module: nn.Module, _args: Any) -> None:
        calls.setdefault(names[id(module)], len(calls))

    def after(module: nn.Module, args: tuple[Any, ...], output: object) -> None:
        name = names[id(module)]
        if isinstance(module, nn.MultiheadAttention):  # its last map is not a module call
            outputs.setdefault(f"{name}.out_proj.weight".removeprefix("."), name)
            last.clear()
        elif isinstance(module, NORMS):
            if last and args and args[0] is last[0][1] and _version(args[0]) == last[0][2]:
                outputs[last[0][0]] = name
        elif own := _own_weights(module, name):
            if not list(module.children()):
                outputs.setdefault(own[0], name)
            last[:] = [(own[0], output, _version(output))]

    with ExitStack() as hooks:
        for module in net.modules():
            hooks.enter_context(module.register_forward_pre_hook(before))
            hooks.enter_context(module.register_forward_hook(after))
        yield
    maps.append(_layer_map(net, calls, outputs))


def outputs_seen(
    net: nn.Module, layer_map: LayerMap, see: Callable[[str, Tensor], None], run: Callable[[], object]
) -> None:
    """Run the forward pass `run`; call `see` with each layer's weight name and first output, [N, units, ...]."""
    modules = dict(net.named_modules())
    seen: set[str] = set()

    def hook(weight: str) -> Callable[[nn.Module, Any, Any], None]:
        def after(module: nn.Module, _args: Any, output: Any) -> None:
            if isinstance(module, nn.MultiheadAttention):
                output = output[0]
            if weight not in seen and isinstance(output, Tensor):
                seen.add(weight)
                see(weight, units_second(module, output.detach()))

        return after

    with ExitStack() as hooks:
        for weight, name in layer_map.outputs.items():
            hooks.enter_context(modules[name].register_forward_hook(hook(weight)))
        run()


def units_second(module: nn.Module, output: Tensor) -> Tensor:
    """A module's output as [N, units, ...]."""
    over_last = isinstance(module, nn.LayerNorm | nn.RMSNorm) and len(module.normalized_shape) == 1
    if output.ndim > 2 and (over_last or isinstance(module, UNITS_LAST)):
        return output.flatten(0, -2)
    return output


def _version(output: object) -> int:
    """Version counter of a tensor: an in-place activation returns the same tensor with other values."""
    return output._version if isinstance(output, Tensor) and not output.is_inference() else 0


def parametrized(net: nn.Module) -> str | None:
    """The first module whose weight is computed from other parameters, or None.

    Weight and spectral normalization do so.
    """
    for name, module in net.named_modules():
        old_style = any(key.endswith(("weight_g", "weight_orig")) for key in module._parameters)
        if old_style or torch.nn.utils.parametrize.is_parametrized(module):
            return name or type(module).__name__
    return None


def _own_weights(module: nn.Module, name: str) -> list[str]:
    prefix = f"{name}." if name else ""
    return [f"{prefix}{key}" for key, p in module._parameters.items() if p is not None and p.ndim >= 2]


def _layer_map(net: nn.Module, calls: Mapping[str, int], outputs: Mapping[str, str]) -> LayerMap:
    modules = dict(net.named_modules())
    parameters = dict(net.named_parameters())

    def called(parameter: str) -> float:
        owner = parameter.rpartition(".")[0]
        while owner not in calls and owner:
            owner = owner.rpartition(".")[0]
        return calls.get(owner, math.inf)

    order = sorted(parameters, key=called)  # stable: registration order within a module
    weights = tuple(
        name
        for name in order
        if parameters[name].ndim >= 2 and not isinstance(modules[name.rpartition(".")[0]], NORMS)
    )
    return LayerMap(tuple(order), weights, {w: outputs[w] for w in weights if w in outputs})
