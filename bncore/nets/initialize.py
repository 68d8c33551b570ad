"""Weight initialization. Adding a scheme is one function and one row of `INITS`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bncore.config.model import Init
from bncore.random import generator


def glorot(weight: Tensor, distribution: str, source: torch.Generator) -> None:
    """Variance 2 / (fan_in + fan_out) (Glorot & Bengio, 2010)."""
    draw = nn.init.xavier_uniform_ if distribution == "uniform" else nn.init.xavier_normal_
    draw(weight, generator=source)


def he(weight: Tensor, distribution: str, source: torch.Generator) -> None:
    """Variance 2 / fan_in (He et al., 2015)."""
    draw = nn.init.kaiming_uniform_ if distribution == "uniform" else nn.init.kaiming_normal_
    draw(weight, nonlinearity="relu", generator=source)


def he_fan_out(weight: Tensor, distribution: str, source: torch.Generator) -> None:
    """A convolution: normal of variance 2 / (height * width * out) (He et al., 2015, by fan-out); a linear map:
    uniform of variance 1 / fan_in. As in the CIFAR-10 ResNet of TensorFlow's models, and MadryLab's after it."""
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
"""Every scheme by its name: fills a weight in place, given the distribution and the generator."""


def initialize(weights: list[Tensor], init: Init, seed: int) -> None:
    """Draw every weight in place, layer i from the key (seed, "init", layer i) alone.

    Drawn in float64 and rounded, so that a float32 and a float64 run begin at the same weights.
    """
    with torch.no_grad():
        for i, weight in enumerate(weights):
            drawn = torch.empty_like(weight, dtype=torch.float64)
            INITS[init.scheme](drawn, init.distribution, generator(seed, "init", layer=i))
            weight.copy_(drawn)
