"""The theorems on the network in training: gradients and Hessian products at y and z of BatchNorm layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bncore.nets import ForwardMode, LayeredNet
from bncore.nets.layer import Layer
from bncore.probes.base import require_finite
from bncore.probes.hessian import CYCLE, largest_eigenpair
from bncore.probes.theory.identities import (
    Standardized,
    Theorem41,
    Theorem42,
    by_unit,
    correction_42,
    direction_at_z,
    dot,
    theorem_41,
)
from bncore.probes.view import StepView
from bncore.random import ProbeDraws, generator

INPUT_NORM_TOLERANCE = 1e-3
"""Relative residual of the squared spectral norm of a layer's input."""


@dataclass(frozen=True)
class Tap:
    """One BatchNorm layer inside a pass."""

    number: int  # 1-based
    input: Tensor  # X, the layer's input, detached
    y: Tensor  # what the norm sees, noise before it included
    z: Tensor  # gamma * y_hat + beta, before any noise after it
    gamma: Tensor | None  # (C,)
    eps: float


def batch_norm_layers(net: LayeredNet) -> list[int]:
    """Numbers, from 1, of the layers that the theorems speak of: those with batch normalization proper."""
    return [
        number
        for number, layer in enumerate(net.layers, start=1)
        if layer.norm is not None and layer.norm.kind == "batch"
    ]


def tapped_pass(view: StepView, numbers: Sequence[int]) -> tuple[Tensor, list[Tap]]:
    """The data loss at theta_t, differentiable with respect to y and z of the chosen layers, and their taps.

    Arguments:
        numbers: 1-based layer numbers, each one of `batch_norm_layers`.
    """

    def run(net: LayeredNet) -> tuple[Tensor, list[Tap]]:
        taps = []
        x = view.inputs
        for number, layer in enumerate(net.layers, start=1):
            if number in numbers:
                tap = _tap(layer, number, x, view.how)
                taps.append(tap)
                noise = layer.noise_after_norm
                x = layer.activate(tap.z if noise is None else noise.apply(tap.z, view.how))
            else:
                x = layer(x, view.how)
        return view.criterion(x, view.targets), taps

    return view.at_theta_t(run)


def _tap(layer: Layer, number: int, x: Tensor, how: ForwardMode) -> Tap:
    assert layer.norm is not None
    gamma, beta = layer.affine
    y = layer.map(x, layer.weight, how)
    if layer.noise_before_norm is not None:
        y = layer.noise_before_norm.apply(y, how)
    if not y.requires_grad:  # the first tap: everything behind it depends on it
        y.requires_grad_()
    z = layer.norm.normalize(y, gamma, beta, how)
    return Tap(number, x.detach(), y, z, gamma, layer.norm.setting.eps)


@dataclass(frozen=True)
class LayerFindings:
    """What the theorems say of one layer."""

    number: int
    known: Standardized
    at_z: Tensor  # dL/dz
    at_y: Tensor  # dL_hat/dy
    lipschitz: Theorem41


def lipschitz_of_layers(loss: Tensor, taps: Sequence[Tap]) -> list[LayerFindings]:
    """Theorem 4.1 of every tapped layer by one backward pass, differentiable for `predictiveness`.

    Raises:
        ArithmeticError: a gradient is not finite.
    """
    sites = [tap.y for tap in taps] + [tap.z for tap in taps]
    slopes = torch.autograd.grad(loss, sites, create_graph=True)
    found = []
    for tap, at_y, at_z in zip(taps, slopes[: len(taps)], slopes[len(taps) :], strict=True):
        require_finite(f"the gradient at layer {tap.number}", at_y)
        known = Standardized.of(tap.y, tap.gamma, tap.eps)
        found.append(LayerFindings(tap.number, known, at_z, at_y, theorem_41(known, at_z, at_y)))
    return found


def predictiveness(tap: Tap, layer: LayerFindings, unit: int | None = None) -> Theorem42:
    """Theorem 4.2 of a whole layer, or of one unit, d being zero in all others.

    One Hessian-vector product gives both sides: what it sends back to y is (d^2 L_hat/dy^2) d, and what
    arrives at z on the way is H times the derivative of z along d.
    """
    d = layer.at_y.detach()
    if unit is not None:
        d = torch.zeros_like(d).index_copy_(1, torch.tensor([unit], device=d.device), d[:, unit : unit + 1])
    back_at_y, back_at_z = torch.autograd.grad(layer.at_y, [tap.y, tap.z], d, retain_graph=True)
    rows = by_unit(d)
    left = dot(rows, by_unit(back_at_y)).sum()
    quadratic = dot(direction_at_z(layer.known, rows), by_unit(back_at_z)).sum()
    correction = correction_42(layer.known, layer.at_z, rows).sum()
    return Theorem42(float(left), float(quadratic), float(correction))


def sampled_units(view: StepView, number: int, units: int, count: int) -> list[int]:
    """`count` different units of a layer of `units`, in ascending order: the same at every step of a run."""
    source = generator(view.seed, "probe", layer=number, part=ProbeDraws.THEORY)
    return sorted(torch.randperm(units, generator=source)[:count].tolist())


def input_norm(view: StepView, tap: Tap) -> float:
    """Spectral norm of X, the layer's input as the matrix with y_j = X w_j; a row is a sample, or for a
    convolution the patch around a position. By Lanczos on X^T X, so from below, to about `INPUT_NORM_TOLERANCE`.
    """

    def run(net: LayeredNet) -> float:
        layer = net.layers[tap.number - 1]

        def product(w: Tensor) -> Tensor:
            leaf = w.view(1, *layer.weight.shape[1:]).detach().requires_grad_()
            half_square = layer.map(tap.input, leaf, view.how).square().sum() / 2
            return torch.autograd.grad(half_square, leaf)[0].flatten()

        source = generator(view.seed, "probe", layer=tap.number, part=ProbeDraws.THEORY)
        start = torch.randn(layer.weight[0].numel(), generator=source, dtype=layer.weight.dtype)
        top = largest_eigenpair(
            product, start.to(tap.input.device), iterations=2 * CYCLE, tolerance=INPUT_NORM_TOLERANCE
        )
        return math.sqrt(max(top.value, 0.0))

    return view.at_theta_t(run)
