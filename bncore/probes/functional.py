"""Run the layers with given tensors, without writing them to the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

from torch import Tensor, nn
from torch.func import functional_call

from bncore.nets import ForwardMode, LayeredNet
from bncore.nets.normalize import OF_THE_BATCH_ALONE

T = TypeVar("T")


class LayerTensors(NamedTuple):
    """The parameters of a layer in the form that `Layer.compute` takes."""

    weight: Tensor
    gamma: Tensor | None  # None stands for 1
    beta: Tensor | None  # None stands for 0; the bias of a layer without norm position


def layer_tensors(net: LayeredNet, parameters: Mapping[str, Tensor]) -> list[LayerTensors]:
    """Every layer's tensors from parameters by name; those unused under the current norm are None."""
    layers = []
    for index, layer in enumerate(net.layers):
        own, norm = f"layers.{index}.", layer.norm
        if norm is None:
            gamma, beta = None, parameters.get(f"{own}bias")
        else:
            gamma = parameters[f"{own}norm.weight"] if norm.uses_gamma else None
            beta = parameters[f"{own}norm.bias"] if norm.uses_beta else None
        layers.append(LayerTensors(parameters[f"{own}weight"], gamma, beta))
    return layers


def run_layers(net: LayeredNet, tensors: list[LayerTensors], x: Tensor, p: ForwardMode) -> Tensor:
    """The network's output with the given tensors in place of its own."""
    for layer, own in zip(net.layers, tensors, strict=True):
        x = layer.compute(x, own.weight, own.gamma, own.beta, p)
    return x


def with_buffers(net: LayeredNet, buffers: Mapping[str, Tensor], work: Callable[[], T]) -> T:
    """`work()` while the network has the given buffers; they are only exchanged if its norms read them."""
    if all(norm.kind in OF_THE_BATCH_ALONE for norm in net.norms):
        return work()
    return with_tensors(net, buffers, lambda _: work())


def with_tensors(net: LayeredNet, tensors: Mapping[str, Tensor], work: Callable[[LayeredNet], T]) -> T:
    """`work(net)` while the network has these parameters and buffers, by name, in place of its own.

    The network is unchanged when this returns, and its tensors are not written to.
    """
    lent = {f"net.{name}": tensor for name, tensor in tensors.items()}
    result: T = functional_call(_Borrowed(net, work), lent, ())
    return result


class _Borrowed(nn.Module):
    """The network and the work to do, wrapped as a module for `functional_call`."""

    def __init__(self, net: LayeredNet, work: Callable[[LayeredNet], object]) -> None:
        super().__init__()
        self.net = net
        self.work = work

    def forward(self) -> object:
        return self.work(self.net)
