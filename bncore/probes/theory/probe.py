"""The theory probe: Theorems 4.1, 4.2 and 4.4 on the network during training.

It uses gradients and Hessian products at y and z of the BatchNorm layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bncore.config.probes import Theory
from bncore.nets import ForwardMode, LayeredNet
from bncore.nets.layer import Layer
from bncore.probes.base import Probe, require_finite
from bncore.probes.hessian import CYCLE, largest_eigenpair, require_hessian
from bncore.probes.theory.identities import (
    Standardized,
    Theorem41,
    Theorem42,
    by_unit,
    correction_42,
    direction_at_z,
    dot,
    theorem_41,
    theorem_44,
)
from bncore.probes.view import StepView
from bncore.random import ProbeDraws, generator

INPUT_NORM_TOLERANCE = 1e-3
"""Relative residual at which the search for the squared spectral norm of a layer's input stops."""


@dataclass(frozen=True)
class Tap:
    """One BatchNorm layer in a pass."""

    number: int  # 1-based
    input: Tensor  # X, the layer's input, detached
    y: Tensor  # the norm's input, including noise before it
    z: Tensor  # gamma * y_hat + beta, before any noise after it
    gamma: Tensor | None  # (C,)
    eps: float


def batch_norm_layers(net: LayeredNet) -> list[int]:
    """Numbers, from 1, of the layers that the theorems apply to: those with batch normalization proper."""
    return [
        number
        for number, layer in enumerate(net.layers, start=1)
        if layer.norm is not None and layer.norm.kind == "batch"
    ]


def tapped_pass(view: StepView, numbers: Sequence[int]) -> tuple[Tensor, list[Tap]]:
    """The data loss at theta_t, differentiable with respect to y and z of the chosen layers, and the layers' taps.

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
    if not y.requires_grad:  # the first tap: everything after it depends on it
        y.requires_grad_()
    z = layer.norm.normalize(y, gamma, beta, how)
    return Tap(number, x.detach(), y, z, gamma, layer.norm.setting.eps)


@dataclass(frozen=True)
class LayerFindings:
    """The theorems' quantities for one layer."""

    number: int
    standardized: Standardized
    at_z: Tensor  # dL/dz
    at_y: Tensor  # dL_hat/dy
    lipschitz: Theorem41


def lipschitz_of_layers(loss: Tensor, taps: Sequence[Tap]) -> list[LayerFindings]:
    """Theorem 4.1 for every tapped layer in one backward pass, which is differentiable for `predictiveness`.

    Raises:
        ArithmeticError: a gradient is not finite.
    """
    sites = [tap.y for tap in taps] + [tap.z for tap in taps]
    slopes = torch.autograd.grad(loss, sites, create_graph=True)
    findings = []
    for tap, at_y, at_z in zip(taps, slopes[: len(taps)], slopes[len(taps) :], strict=True):
        require_finite(f"the gradient at layer {tap.number}", at_y)
        standardized = Standardized.of(tap.y, tap.gamma, tap.eps)
        findings.append(
            LayerFindings(tap.number, standardized, at_z, at_y, theorem_41(standardized, at_z, at_y))
        )
    return findings


def predictiveness(tap: Tap, layer: LayerFindings, unit: int | None = None) -> Theorem42:
    """Theorem 4.2 for a whole layer, or for one unit with d zero in all others.

    One Hessian-vector product gives both sides: its gradient at y is (d^2 L_hat/dy^2) d, and its gradient at z, on
    the way, is H times the derivative of z along d.
    """
    d = layer.at_y.detach()
    if unit is not None:
        d = torch.zeros_like(d).index_copy_(1, torch.tensor([unit], device=d.device), d[:, unit : unit + 1])
    back_at_y, back_at_z = torch.autograd.grad(layer.at_y, [tap.y, tap.z], d, retain_graph=True)
    rows = by_unit(d)
    left = dot(rows, by_unit(back_at_y)).sum()
    quadratic = dot(direction_at_z(layer.standardized, rows), by_unit(back_at_z)).sum()
    correction = correction_42(layer.standardized, layer.at_z, rows).sum()
    return Theorem42(float(left), float(quadratic), float(correction))


def sampled_units(view: StepView, number: int, units: int, count: int) -> list[int]:
    """`count` distinct units of a layer with `units`, in ascending order: the same at every step of a run."""
    source = generator(view.seed, "probe", layer=number, part=ProbeDraws.THEORY)
    return sorted(torch.randperm(units, generator=source)[:count].tolist())


def input_norm(view: StepView, tap: Tap) -> float:
    """Spectral norm of X, the layer's input as the matrix with y_j = X w_j.

    A row of X is a sample or, for a convolution, the patch around a position. The norm is computed by Lanczos on
    X^T X, hence from below, to about `INPUT_NORM_TOLERANCE`.
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


class TheoryProbe(Probe):
    """The theory probe; it has no state.

    Arguments:
        settings: its settings; the cadence is not read here. Single units are drawn with the run's seed, and cost
            one Hessian-vector product each.
    """

    def __init__(self, settings: Theory) -> None:
        self._settings = settings

    def measure(self, view: StepView) -> dict[str, Any]:
        """The journal's fields over the chosen layers, summed over units, each (L,) unless noted otherwise:

        - `layers`: their numbers; an empty list if the network has no batch normalization;
        - Theorem 4.1: `lipschitz_left`, and on the right `lipschitz_scale` - `lipschitz_mean` -
          `lipschitz_correlation` = `lipschitz_corrected`, each part with the factor gamma^2/(var + eps);
          `lipschitz_plain`, the squared gradient at z; `lipschitz_error`, the sum of |left_j - corrected_j|
          divided by the left side; `lipschitz_printed`, the right side as printed, and `printed_fails`, the share
          of units whose left side exceeds it;
        - Theorem 4.2: `hessian_left`, `hessian_quadratic`, `hessian_correction`, `hessian_error` (relative to
          the largest of the three); for single units `unit` (from 0), `unit_left`, `unit_right`, (L, neurons);
        - Theorem 4.4: `input_norm` (lambda, the spectral norm of the layer's input in this batch),
          `worst_plain`, `worst_bound`, and `worst_actual`, the squared gradient of the layer's weight, which
          the bound exceeds.

        Raises:
            ValueError: a chosen layer has no batch normalization although others have, or some norm has no second
                derivatives (see `require_hessian`).
            ArithmeticError: a gradient is not finite.
        """
        numbers = self._chosen(view)
        if not numbers:
            return {"layers": []}
        require_hessian(view.net)
        loss, taps = tapped_pass(view, numbers)
        findings = lipschitz_of_layers(loss, taps)
        fields = {"layers": numbers, **_lipschitz(findings), **_hessian(taps, findings)}
        if self._settings.neurons:
            fields |= _hessian_of_units(view, taps, findings, self._settings.neurons)
        fields |= _worst_case(view, taps, findings)
        return {name: np.asarray(value) for name, value in fields.items()}

    def _chosen(self, view: StepView) -> list[int]:
        there = batch_norm_layers(view.net)
        wrong = [n for n in self._settings.layers if n not in there]
        if there and wrong:
            accepted = f"layers with batch normalization: {', '.join(map(str, there))}"
            raise ValueError(f"probes.theory.layers: {wrong}; expected {accepted}")
        return [n for n in there if n in self._settings.layers or not self._settings.layers]


def _lipschitz(findings: Sequence[LayerFindings]) -> dict[str, list[float]]:
    rows = []
    for layer in findings:
        seen = layer.lipschitz
        left = float(seen.left.sum())
        gap = float((seen.left - seen.corrected).abs().sum())
        rows.append(
            {
                "lipschitz_left": left,
                "lipschitz_scale": float((seen.scale * seen.plain).sum()),
                "lipschitz_mean": float((seen.scale * seen.mean_part).sum()),
                "lipschitz_correlation": float((seen.scale * seen.correlation_part).sum()),
                "lipschitz_corrected": float(seen.corrected.sum()),
                "lipschitz_printed": float(seen.printed.sum()),
                "lipschitz_plain": float(seen.plain.sum()),
                "lipschitz_error": relative(gap, left),
                "printed_fails": float((seen.left > seen.printed).double().mean()),
            }
        )
    return {name: [row[name] for row in rows] for name in rows[0]}


def _hessian(taps: Sequence[Tap], findings: Sequence[LayerFindings]) -> dict[str, list[float]]:
    seen = [predictiveness(tap, layer) for tap, layer in zip(taps, findings, strict=True)]
    return {
        "hessian_left": [s.left for s in seen],
        "hessian_quadratic": [s.quadratic for s in seen],
        "hessian_correction": [s.correction for s in seen],
        "hessian_error": [error_42(s) for s in seen],
    }


def _hessian_of_units(
    view: StepView, taps: Sequence[Tap], findings: Sequence[LayerFindings], count: int
) -> dict[str, Any]:
    # A layer may have fewer units than requested; all rows of an event need the same length.
    count = min(count, *(tap.y.shape[1] for tap in taps))
    units = [sampled_units(view, tap.number, tap.y.shape[1], count) for tap in taps]
    seen = [
        [predictiveness(tap, layer, unit) for unit in chosen]
        for tap, layer, chosen in zip(taps, findings, units, strict=True)
    ]
    return {
        "unit": units,
        "unit_left": [[s.left for s in row] for row in seen],
        "unit_right": [[s.right for s in row] for row in seen],
    }


def _worst_case(
    view: StepView, taps: Sequence[Tap], findings: Sequence[LayerFindings]
) -> dict[str, list[float]]:
    norms = [input_norm(view, tap) for tap in taps]
    seen = [theorem_44(layer.lipschitz, lam) for layer, lam in zip(findings, norms, strict=True)]
    weights = [view.grads[f"layers.{tap.number - 1}.weight"] for tap in taps]
    return {
        "input_norm": norms,
        "worst_plain": [plain for plain, _ in seen],
        "worst_bound": [bound for _, bound in seen],
        "worst_actual": [float(w.double().square().sum()) for w in weights],
    }


def error_42(seen: Theorem42) -> float:
    """|left - right| relative to the largest of its three terms, because the right side is a difference."""
    return relative(
        abs(seen.left - seen.right), max(abs(seen.left), abs(seen.quadratic), abs(seen.correction))
    )


def relative(gap: float, size: float) -> float:
    """gap / size, or 0 if there is no gap."""
    return gap / size if gap else 0.0
