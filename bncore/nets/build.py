"""Builders of `LayeredNet` from a specification.

To add a network, write a builder, add a row to `NETS` and a case to `bncore.config.single_value.linear_norms`; to
add an initialization, write a function and add a row to `INITS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bncore.config.model import DLN, MLP, VGG, Init, Spec
from bncore.nets.layer import Layer
from bncore.nets.layered import LayeredNet
from bncore.nets.norm import NormPosition
from bncore.random import generator

_M = "pool"
VGG_TABLES: dict[str, tuple[int | str, ...]] = {
    "vgg11": (64, _M, 128, _M, 256, 256, _M, 512, 512, _M, 512, 512, _M),
    "vgg13": (64, 64, _M, 128, 128, _M, 256, 256, _M, 512, 512, _M, 512, 512, _M),
    "vgg16": (64, 64, _M, 128, 128, _M, *(256,) * 3, _M, *(512,) * 3, _M, *(512,) * 3, _M),
    "vgg19": (64, 64, _M, 128, 128, _M, *(256,) * 4, _M, *(512,) * 4, _M, *(512,) * 4, _M),
}
"""Convolution channels and pooling positions: A, B, D, E of Simonyan & Zisserman (2015)."""


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """The inputs of a builder: the specification, the shape of one sample and the number of outputs."""

    spec: Spec
    inputs: tuple[int, ...]
    outputs: int

    @property
    def dtype(self) -> torch.dtype:
        """The data type of the parameters."""
        return torch.float64 if self.spec.precision == "float64" else torch.float32

    def norm(self, channels: int, *, positions: bool) -> NormPosition:
        """A norm position for the output of a weight map."""
        return NormPosition(channels, positions=positions, setting=self.spec.norm, dtype=self.dtype)

    def linear(
        self, fan_in: int, fan_out: int, *, normed: bool, activation: Callable[[Tensor], Tensor] | None
    ) -> Layer:
        """A linear layer with a norm position; its map has no bias."""
        norm = self.norm(fan_out, positions=False) if normed else None
        return Layer((fan_out, fan_in), norm=norm, activation=activation, dtype=self.dtype)

    def head(self, fan_in: int) -> Layer:
        """The last linear layer: with a bias, without norm position or activation."""
        return Layer((self.outputs, fan_in), norm=None, bias=True, dtype=self.dtype)


def vgg(plan: LayerPlan) -> list[Layer]:
    """VGG for 32x32 images: convolutions with ReLU, five poolings down to 1x1, hidden linear layers and a head.

    Raises:
        ValueError: the inputs are not [channels, 32, 32].
    """
    net = cast(VGG, plan.spec.net)
    if len(plan.inputs) != 3 or plan.inputs[1:] != (32, 32):
        raise ValueError(f"inputs: {plan.inputs}; expected (channels, 32, 32) for net.kind '{net.kind}'")
    layers: list[Layer] = []
    table = VGG_TABLES[net.kind]
    channels = plan.inputs[0]
    for entry, following in zip(table, (*table[1:], None), strict=True):
        if not isinstance(entry, int):
            continue
        width = scaled(entry, net.width)
        shape, norm = (width, channels, 3, 3), plan.norm(width, positions=True)
        layers.append(Layer(shape, norm=norm, activation=F.relu, pool=following == _M, dtype=plan.dtype))
        channels = width
    for hidden in net.head:
        width = scaled(hidden, net.width)
        layers.append(plan.linear(channels, width, normed=True, activation=F.relu))
        channels = width
    return [*layers, plan.head(channels)]


def dln(plan: LayerPlan) -> list[Layer]:
    """Deep linear network (section 2.2 of Santurkar et al., 2018), without activations.

    The last layer has no bias, and has a norm position only with `normalise_last`.
    """
    net = cast(DLN, plan.spec.net)
    widths = [math.prod(plan.inputs), *(net.width,) * (net.depth - 1), plan.outputs]
    normed = [True] * (net.depth - 1) + [net.normalise_last]
    return [
        plan.linear(fan_in, fan_out, normed=n, activation=None)
        for (fan_in, fan_out), n in zip(pairwise(widths), normed, strict=True)
    ]


def mlp(plan: LayerPlan) -> list[Layer]:
    """Multilayer perceptron: hidden linear layers with ReLU, then a head."""
    net = cast(MLP, plan.spec.net)
    widths = [math.prod(plan.inputs), *net.hidden]
    hidden = [
        plan.linear(fan_in, fan_out, normed=True, activation=F.relu) for fan_in, fan_out in pairwise(widths)
    ]
    return [*hidden, plan.head(widths[-1])]


NETS: dict[str, Callable[[LayerPlan], list[Layer]]] = {
    **dict.fromkeys(VGG_TABLES, vgg),
    "dln": dln,
    "mlp": mlp,
}
"""Builders by `net.kind`; each returns the network's layers."""


def glorot(weight: Tensor, distribution: str, source: torch.Generator) -> None:
    """Variance 2 / (fan_in + fan_out) (Glorot & Bengio, 2010)."""
    draw = nn.init.xavier_uniform_ if distribution == "uniform" else nn.init.xavier_normal_
    draw(weight, generator=source)


def he(weight: Tensor, distribution: str, source: torch.Generator) -> None:
    """Variance 2 / fan_in (He et al., 2015)."""
    draw = nn.init.kaiming_uniform_ if distribution == "uniform" else nn.init.kaiming_normal_
    draw(weight, nonlinearity="relu", generator=source)


def he_fan_out(weight: Tensor, distribution: str, source: torch.Generator) -> None:
    """He initialization by fan-out, as in the CIFAR-10 ResNet of TensorFlow's models, and MadryLab's after it.

    Convolutions are normal with variance 2 / (height * width * out) (He et al., 2015); linear maps are uniform
    with variance 1 / fan_in.
    """
    if weight.ndim == 2:
        nn.init.kaiming_uniform_(weight, nonlinearity="linear", generator=source)  # +-sqrt(3 / fan_in)
    else:
        nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu", generator=source)


def orthogonal(weight: Tensor, distribution: str, source: torch.Generator) -> None:
    """Orthonormal rows or columns of the (out, in * height * width) matrix (Saxe et al., 2014)."""
    nn.init.orthogonal_(weight, generator=source)


INITS: dict[str, Callable[[Tensor, str, torch.Generator], None]] = {
    "glorot": glorot,
    "he": he,
    "he_fan_out": he_fan_out,
    "orthogonal": orthogonal,
}
"""Initialization schemes by name; each fills a weight in place, given the distribution and the generator."""


def initialize(weights: list[Tensor], init: Init, seed: int) -> None:
    """Draw every weight in place; layer i depends only on the key (seed, "init", layer i).

    The draws are float64, then rounded, so that float32 and float64 runs start from the same weights.
    """
    with torch.no_grad():
        for i, weight in enumerate(weights):
            drawn = torch.empty_like(weight, dtype=torch.float64)
            INITS[init.scheme](drawn, init.distribution, generator(seed, "init", layer=i))
            weight.copy_(drawn)


def build(spec: Spec, *, inputs: tuple[int, ...], outputs: int) -> LayeredNet:
    """The initialized network of a specification, on the CPU and in the specification's precision.

    Arguments:
        spec: the run's specification.
        inputs: the shape of one sample, such as (3, 32, 32).
        outputs: the number of classes or of regression outputs.

    Raises:
        ValueError: the inputs do not fit the network, or the norm does not fit one of its layers.
    """
    layers = NETS[spec.net.kind](LayerPlan(spec, tuple(inputs), outputs))
    initialize([layer.weight for layer in layers], spec.init, spec.seed)
    return LayeredNet(layers, inputs=tuple(inputs), seed=spec.seed, noise=spec.noise)


def scaled(channels: int, width: float) -> int:
    """The channel count times the width multiplier, rounded; at least 1."""
    return max(1, round(channels * width))
