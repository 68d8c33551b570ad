"""One neuron for which Lemma 4.5's claim is false, after Dannemann & Junike (arXiv 2502.17913)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bncore.probes.theory.identities import lemma_45

INPUTS = ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0))
TARGETS = (2.0, 0.0, 3.0)
"""t = 3 x_1 + x_2 - 1 exactly. The neuron has no bias and BatchNorm takes the mean away: its optima are the
positive multiples of (3, 1); the plain neuron has its only one at W* = (7/3, 1/3)."""


OPTIMUM = (3.0, 1.0)
"""An optimum of the neuron with BatchNorm; every positive multiple is one too, and nothing else is."""


@dataclass(frozen=True)
class CounterExample:
    """One linear neuron, identity activation, squared loss 1/2 sum (output - target)^2, gamma = 1, beta = 0.

    W_0 is put at W* itself. The lemma's right side is 0 then, so that the BatchNorm neuron would have to have
    an optimum there.
    """

    initial: Tensor  # (2,), W_0 = W*, the optimum of the neuron without BatchNorm
    bound: float  # right side of Lemma 4.5: 0
    distance: float  # ||W_0 - W_hat*||^2 to the closest optimum of the BatchNorm neuron
    gradient: float  # ||dL/dW|| of the plain neuron at W_0: 0
    normalized_gradient: float  # ||dL_hat/dW|| of the BatchNorm neuron at W_0
    normalized_gradient_at_optimum: float  # the same at its closest optimum: 0

    @property
    def lemma_holds(self) -> bool:
        """Whether the distance is within the lemma's bound, to rounding."""
        return self.distance <= self.bound + 1e-9


def counter_example(dtype: torch.dtype = torch.float64) -> CounterExample:
    """The example, computed in a precision."""
    x = torch.tensor(INPUTS, dtype=dtype)
    t = torch.tensor(TARGETS, dtype=dtype)
    initial = torch.linalg.lstsq(x, t[:, None]).solution[:, 0]
    ray = torch.tensor(OPTIMUM, dtype=dtype)
    closest = ray * (initial @ ray) / (ray @ ray)
    return CounterExample(
        initial=initial,
        bound=lemma_45(initial, initial).right,
        distance=float((initial - closest).square().sum()),
        gradient=_slope(initial, x, t, normalized=False),
        normalized_gradient=_slope(initial, x, t, normalized=True),
        normalized_gradient_at_optimum=_slope(closest, x, t, normalized=True),
    )


def _slope(w: Tensor, x: Tensor, t: Tensor, *, normalized: bool) -> float:
    leaf = w.clone().requires_grad_()
    y = x @ leaf
    output = (y - y.mean()) / y.var(correction=0).sqrt() if normalized else y
    (slope,) = torch.autograd.grad((output - t).square().sum() / 2, leaf)
    return float(slope.norm())
