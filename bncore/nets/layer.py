"""The layer: weight map, noise, norm, noise, activation, pooling, in that order."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bncore.nets.forward_mode import ForwardMode
from bncore.nets.noise import NoiseSource
from bncore.nets.norm import NormPosition


class Layer(nn.Module):
    """One layer; its stages are methods, so that a probe can run any of them with other tensors.

    Arguments:
        weight_shape: (out, in) for a linear map, (out, in, 3, 3) for a convolution with padding 1.
        norm: the norm position after the map; None: the map has a bias instead, if `bias` is set.
        bias: whether a layer without norm position adds a bias.
        activation: elementwise function after the norm; None: no activation.
        pool: whether the layer ends in a 2x2 max-pooling.
        dtype: data type of the parameters.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(
        self,
        weight_shape: tuple[int, ...],
        *,
        norm: NormPosition | None,
        bias: bool = False,
        activation: Callable[[Tensor], Tensor] | None = None,
        pool: bool = False,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(weight_shape, dtype=dtype))
        bias_parameter = nn.Parameter(torch.zeros(weight_shape[0], dtype=dtype)) if bias else None
        self.register_parameter("bias", bias_parameter)
        self.norm = norm
        # Bypasses nn.Module's attribute look-up, which costs a deep, narrow network 2 % of its step.
        self.__dict__["norm"] = norm
        self.activation = activation
        self.pool = pool
        self.convolution = len(weight_shape) == 4
        self.noise_input: NoiseSource | None = None
        self.noise_before_norm: NoiseSource | None = None
        self.noise_after_norm: NoiseSource | None = None

    def forward(self, x: Tensor, p: ForwardMode) -> Tensor:
        """The layer's output with its own parameters."""
        gamma, beta = self.affine
        return self.compute(x, self.weight, gamma, beta, p)

    @property
    def affine(self) -> tuple[Tensor | None, Tensor | None]:
        """The gamma and beta in use, (out,) each; None stands for 1 and 0 respectively.

        In a layer without norm position, beta is the bias.
        """
        norm = self.norm
        return (None, self.bias) if norm is None else (norm.gamma, norm.beta)

    def compute(
        self, x: Tensor, weight: Tensor, gamma: Tensor | None, beta: Tensor | None, p: ForwardMode
    ) -> Tensor:
        """The layer as a function of its input and parameters.

        Arguments:
            x: [samples * chains, in] or [samples * chains, in, height, width]; flattened for a linear map.
            weight: as `self.weight`.
            gamma, beta: (out,), or None for 1 and 0; without norm position, beta is the bias.
            p: mode of the pass.
        """
        norm = self.norm
        if norm is not None and (norm.kind != "none" or self.noise_before_norm is not None):
            return self.respond(self.map(x, weight, p), gamma, beta, p)
        # Adding beta in the map itself saves a pass over memory.
        z = self.map(x, weight, p, bias=beta)
        if self.noise_after_norm is not None:
            z = self.noise_after_norm.apply(z, p)
        return self.activate(z)

    def map(self, x: Tensor, weight: Tensor, p: ForwardMode, bias: Tensor | None = None) -> Tensor:
        """y = W x (+ bias), with noise applied to x if the noise position is the network's input.

        Under weight normalization, each unit's weights are divided by their length.
        """
        norm = self.norm
        if norm is not None and norm.kind == "weight":
            weight = unit_length(weight, norm.setting.eps)
        if self.noise_input is not None:
            x = self.noise_input.apply(x, p)
        if self.convolution:
            return F.conv2d(x, weight, bias, padding=1)
        return F.linear(x if x.ndim == 2 else x.flatten(1), weight, bias)

    def respond(self, y: Tensor, gamma: Tensor | None, beta: Tensor | None, p: ForwardMode) -> Tensor:
        """The layer's output from y = W x: `activate(normalize(y))`."""
        return self.activate(self.normalize(y, gamma, beta, p))

    def normalize(self, y: Tensor, gamma: Tensor | None, beta: Tensor | None, p: ForwardMode) -> Tensor:
        """The norm position's output from y = W x, including the noise before and after it."""
        if self.noise_before_norm is not None:
            y = self.noise_before_norm.apply(y, p)
        if self.norm is not None:
            y = self.norm.normalize(y, gamma, beta, p)
        elif beta is not None:
            y = y + beta
        return y if self.noise_after_norm is None else self.noise_after_norm.apply(y, p)

    def activate(self, z: Tensor) -> Tensor:
        """Activation and pooling of the norm position's output; `z` itself is not modified."""
        if self.activation is not None:
            z = self.activation(z)
        return F.max_pool2d(z, 2) if self.pool else z


def unit_length(weight: Tensor, eps: float) -> Tensor:
    """w / sqrt(||w||^2 + eps^2) for each unit's weights w; `weight` is [out, in] or [out, in, height, width].

    eps serves only to keep the gradient finite at w = 0.
    """
    length = (weight.square().flatten(1).sum(1) + eps**2).sqrt()
    return weight / length.view(-1, *(1,) * (weight.ndim - 1))
