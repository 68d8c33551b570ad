"""Sharpness: the largest Hessian eigenvalue, the curvature along the gradient, and norms per layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bncore.config.probes import Sharpness
from bncore.probes.base import Probe, in_precision_of
from bncore.probes.compare import norm_of
from bncore.probes.hessian import HessianProduct, largest_eigenpair, starting_vector
from bncore.probes.view import StepView


@dataclass(frozen=True)
class TopEigenvector:
    """The direction of largest curvature of the loss at theta_t on the step's batch."""

    value: float  # lambda_max, approximated from below by a Ritz value
    vector: dict[str, Tensor]  # by parameter name, ||vector|| = 1 over all of them
    residual: float  # ||Hv - value * v|| / |value|
    products: int  # Hessian products spent
    gradient_curvature: float  # g^T H g / ||g||^2, the mini-batch sharpness (arXiv 2412.20553); nan at g = 0


def top_eigenvector(
    view: StepView, *, iterations: int, tolerance: float, start: Mapping[str, Tensor] | None = None
) -> TopEigenvector:
    """The top eigenpair of the Hessian of the view's loss: the data loss, unless it is `StepView.with_penalty`.

    A penalty on all parameters adds weight_decay to the value and leaves the vector unchanged; a penalty on only
    the weights changes the vector too.

    Arguments:
        view: the step; train-mode statistics and the step's own noise.
        iterations: maximum number of Hessian products, not counting one for the curvature along the gradient.
        tolerance: relative residual at which to stop.
        start: an earlier eigenvector by name; used if its names and shapes still fit.

    Raises:
        ValueError: the network's norm has no second derivatives (lp:<p> with 1 < p < 2).
        ArithmeticError: a Hessian product is not finite.
    """
    product = HessianProduct(view)
    pair = largest_eigenpair(
        product, starting_vector(product, view, start), iterations=iterations, tolerance=tolerance
    )
    direction = product.gradient
    curvature = (direction @ product(direction)) / (direction @ direction)
    return TopEigenvector(
        pair.value, product.named(pair.vector), pair.residual, pair.products, float(curvature)
    )


def layer_lengths(view: StepView) -> dict[str, Tensor]:
    """Norms per layer of its weight W (without bias, gamma or beta), each (layers,) in layer order, in float64.

    `layer_grad_norm` ||grad_W L||; `weight_norm` ||W||; `relative_update` ||dW|| / ||W|| of the optimizer's actual
    update; `effective_lr` lr / ||W||^2, the relevant quantity for scale-invariant layers
    (docs/explanation/paper.md, section 6). W is that of theta_t.
    """
    names = view.weights
    weight = torch.stack([norm_of(view.before[n]) for n in names])
    update = torch.stack([norm_of(view.after[n] - view.before[n]) for n in names])
    grad = torch.stack([norm_of(view.grads[n]) for n in names])
    rates = weight.new_tensor([view.rate_of(n) for n in names])
    return {
        "layer_grad_norm": grad,
        "weight_norm": weight,
        "relative_update": update / weight,
        "effective_lr": rates / weight.square(),
    }


class SharpnessProbe(Probe):
    """The sharpness probe; it remembers the last eigenvector as a warm start.

    Arguments:
        settings: its settings; the cadence is not read here.
    """

    def __init__(self, settings: Sharpness) -> None:
        self._settings = settings
        self._warm: dict[str, Tensor] | None = None

    def measure(self, view: StepView) -> dict[str, Any]:
        """The journal's fields.

        - `eigenvalue` with `residual`, `products`, `converged`;
        - `stability_threshold`, the curvature above which the optimizer's updates of a quadratic become unstable
          (nan if no eigenvalue of the Hessian decides that), and `two_over_lr`, its value for gradient descent;
        - `gradient_curvature`;
        - `layers`, their numbers, and the fields of `layer_lengths`, if there are layers.
        """
        iterations, tolerance = self._settings.iterations, self._settings.tolerance
        top = top_eigenvector(view, iterations=iterations, tolerance=tolerance, start=self._warm)
        self._warm = top.vector
        return {
            "eigenvalue": top.value,
            "residual": top.residual,
            "products": top.products,
            "converged": top.residual <= tolerance,
            "gradient_curvature": top.gradient_curvature,
            "two_over_lr": 2 / view.lr if view.lr else np.inf,
            "stability_threshold": view.stability_threshold,
            "layers": list(range(1, len(view.weights) + 1)),
            **(in_precision_of(view, layer_lengths(view)) if view.weights else {}),
        }

    def state_dict(self) -> dict[str, Any]:
        """The warm start by parameter name; empty before the first measurement."""
        return dict(self._warm or {})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state returned by `state_dict`."""
        self._warm = dict(state) or None
