"""The theory probe: Theorems 4.1, 4.2 and 4.4 on the network in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bncore.probes.base import Probe
from bncore.probes.hessian import require_hessian
from bncore.probes.theory.identities import Theorem42, theorem_44
from bncore.probes.theory.live import (
    LayerFindings,
    Tap,
    batch_norm_layers,
    input_norm,
    lipschitz_of_layers,
    predictiveness,
    sampled_units,
    tapped_pass,
)
from bncore.probes.view import StepView


class TheoryProbe(Probe):
    """The probe; it remembers nothing.

    Arguments:
        layers: 1-based numbers of BatchNorm layers; empty: all of them.
        neurons: how many units of each layer, drawn by the run's seed, Theorem 4.2 is measured on by themselves;
            a Hessian-vector product each.
    """

    def __init__(self, *, layers: Sequence[int], neurons: int) -> None:
        self.layers = tuple(layers)
        self.neurons = neurons

    def measure(self, view: StepView) -> dict[str, Any]:
        """The journal's fields, each over the chosen layers, (L,) unless said otherwise, sums over their units:

        - `layers`: their numbers; an empty list where the network has no batch normalization;
        - Theorem 4.1: `lipschitz_left`, and on the right `lipschitz_scale` - `lipschitz_mean` -
          `lipschitz_correlation` = `lipschitz_corrected`, each part with the factor gamma^2/(var + eps);
          `lipschitz_plain`, the squared gradient at z; `lipschitz_error`, sum of |left_j - corrected_j| over
          the left side; `lipschitz_printed`, the right side as printed, and `printed_fails`, the share of
          units whose left side is above it;
        - Theorem 4.2: `hessian_left`, `hessian_quadratic`, `hessian_correction`, `hessian_error` (relative to
          the largest of the three); of single units `unit` (from 0), `unit_left`, `unit_right`, (L, neurons);
        - Theorem 4.4: `input_norm` (lambda, the spectral norm of the layer's input in this batch),
          `worst_plain`, `worst_bound`, and `worst_actual`, the squared gradient of the layer's weight, which
          the bound is above.

        Raises:
            ValueError: a chosen layer has no batch normalization though others have, or a norm that has no
                second derivatives (see `require_hessian`).
            ArithmeticError: a gradient is not finite.
        """
        numbers = self._chosen(view)
        if not numbers:
            return {"layers": []}
        require_hessian(view.net)
        loss, taps = tapped_pass(view, numbers)
        found = lipschitz_of_layers(loss, taps)
        fields = {"layers": numbers, **_lipschitz(found), **_hessian(taps, found)}
        if self.neurons:
            fields |= _hessian_of_units(view, taps, found, self.neurons)
        fields |= _worst_case(view, taps, found)
        return {name: np.asarray(value) for name, value in fields.items()}

    def _chosen(self, view: StepView) -> list[int]:
        there = batch_norm_layers(view.net)
        wrong = [n for n in self.layers if n not in there]
        if there and wrong:
            accepted = f"layers with batch normalization: {', '.join(map(str, there))}"
            raise ValueError(f"probes.theory.layers: {wrong}; expected {accepted}")
        return [n for n in there if n in self.layers or not self.layers]


def _lipschitz(found: Sequence[LayerFindings]) -> dict[str, list[float]]:
    rows = []
    for layer in found:
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


def _hessian(taps: Sequence[Tap], found: Sequence[LayerFindings]) -> dict[str, list[float]]:
    seen = [predictiveness(tap, layer) for tap, layer in zip(taps, found, strict=True)]
    return {
        "hessian_left": [s.left for s in seen],
        "hessian_quadratic": [s.quadratic for s in seen],
        "hessian_correction": [s.correction for s in seen],
        "hessian_error": [error_42(s) for s in seen],
    }


def _hessian_of_units(
    view: StepView, taps: Sequence[Tap], found: Sequence[LayerFindings], count: int
) -> dict[str, Any]:
    # A layer may have fewer units than requested; the rows of one event are of one length.
    count = min(count, *(tap.y.shape[1] for tap in taps))
    units = [sampled_units(view, tap.number, tap.y.shape[1], count) for tap in taps]
    seen = [
        [predictiveness(tap, layer, unit) for unit in chosen]
        for tap, layer, chosen in zip(taps, found, units, strict=True)
    ]
    return {
        "unit": units,
        "unit_left": [[s.left for s in row] for row in seen],
        "unit_right": [[s.right for s in row] for row in seen],
    }


def _worst_case(
    view: StepView, taps: Sequence[Tap], found: Sequence[LayerFindings]
) -> dict[str, list[float]]:
    norms = [input_norm(view, tap) for tap in taps]
    seen = [theorem_44(layer.lipschitz, lam) for layer, lam in zip(found, norms, strict=True)]
    weights = [view.grads[f"layers.{tap.number - 1}.weight"] for tap in taps]
    return {
        "input_norm": norms,
        "worst_plain": [s.plain for s in seen],
        "worst_bound": [s.bound for s in seen],
        "worst_actual": [float(w.double().square().sum()) for w in weights],
    }


def error_42(seen: Theorem42) -> float:
    """|left - right| over the largest of the three numbers in it: the right side is a difference."""
    return relative(
        abs(seen.left - seen.right), max(abs(seen.left), abs(seen.quadratic), abs(seen.correction))
    )


def relative(gap: float, size: float) -> float:
    """gap / size; 0 where there is no gap."""
    return gap / size if gap else 0.0
