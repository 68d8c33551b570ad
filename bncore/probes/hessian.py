"""Hessian-vector products of the data loss, and the largest eigenvalue by restarted Lanczos."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from bncore.nets import LayeredNet
from bncore.nets.normalize import lp
from bncore.probes.view import StepView
from bncore.random import ProbeDraws, generator

CYCLE = 10
"""Lanczos vectors kept at a time, each the size of all parameters."""
FRESH = 0.1
"""Length of the random component added to a warm start of length 1.

Without it, a start that is already an eigenvector would never notice another eigenvalue overtaking its own.
"""


def require_hessian(net: nn.Module) -> None:
    """Check that the network's norms have second derivatives at all inputs that occur.

    Raises:
        ValueError: an l_p norm with 1 < p < 2, whose |y|^p has none at y = 0 (reached exactly by dead inputs).
    """
    if not isinstance(net, LayeredNet):  # autograd itself reports missing second derivatives
        return
    for number, layer in enumerate(net.layers, start=1):
        norm = layer.norm
        if norm is not None and norm.function is lp and 1 < norm.exponent < 2:
            raise ValueError(
                f"norm.kind: {norm.setting.kind!r} at layer {number}; expected a norm with second derivatives: "
                "lp:<p> with 1 < p < 2 has none at 0, so Hessian products are not defined"
            )


class HessianProduct:
    """v -> Hv for the view's loss at theta_t on the step's batch, with train-mode statistics and the step's noise.

    The graph of the gradient is built once and lives as long as this object; each product then costs about one
    forward and backward pass. Vectors are flat, in the order of `view.grads`.

    Raises:
        ValueError: the network has no Hessian (see `require_hessian`), or its attention draws different dropout
            here.
    """

    def __init__(self, view: StepView) -> None:
        require_hessian(view.net)
        self._view = view
        self._leaves = {name: view.before[name].detach().requires_grad_() for name in view.grads}
        with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
            loss = view.own_loss_at(self._theta)
            _require_same_loss(view, view.mean([loss])[0])
            self._slopes = self._grad(loss, create_graph=True)

    @property
    def gradient(self) -> Tensor:
        """The gradient at theta_t, (P,)."""
        return torch.cat([slope.detach().flatten() for slope in self._view.mean(self._slopes)])

    def __call__(self, vector: Tensor) -> Tensor:
        """Hv, (P,), for v, (P,)."""
        leaves = list(self._leaves.values())
        parts = [v.view_as(leaf) for v, leaf in zip(self._split(vector), leaves, strict=True)]
        rows = self._view.mean(self._grad(self._slopes, grad_outputs=parts, retain_graph=True))
        return torch.cat([row.flatten() for row in rows])

    @property
    def _theta(self) -> dict[str, Tensor]:
        return {**self._view.before, **self._leaves}

    def _grad(self, of: Any, **options: Any) -> tuple[Tensor, ...]:
        """The gradient with respect to the leaves, computed while they are the network's parameters.

        A backward pass may rerun parts of the forward pass (activation checkpointing).
        """
        leaves = list(self._leaves.values())

        def work(_: object) -> tuple[Tensor, ...]:
            return torch.autograd.grad(of, leaves, materialize_grads=True, **options)

        return self._view.within(self._theta, work)

    def named(self, vector: Tensor) -> dict[str, Tensor]:
        """A flat vector split into one tensor per parameter."""
        return {
            name: part.view_as(leaf)
            for part, (name, leaf) in zip(self._split(vector), self._leaves.items(), strict=True)
        }

    def flat(self, named: Mapping[str, Tensor]) -> Tensor:
        """The inverse of `named`."""
        return torch.cat([named[name].to(leaf).flatten() for name, leaf in self._leaves.items()])

    def fits(self, named: Mapping[str, Tensor]) -> bool:
        """Whether a named vector has these parameters' names and shapes; switching a norm can change them."""
        return {name: part.shape for name, part in named.items()} == {
            name: leaf.shape for name, leaf in self._leaves.items()
        }

    def _split(self, vector: Tensor) -> tuple[Tensor, ...]:
        return torch.split(vector, [leaf.numel() for leaf in self._leaves.values()])


def _require_same_loss(view: StepView, loss: Tensor) -> None:
    """Refuse a loss that differs from the step's.

    Attention with dropout draws differently in another kernel, so the Hessian would be that of another loss.
    """
    recorded = torch.as_tensor(view.loss, dtype=loss.dtype, device=loss.device)
    rtol = torch.finfo(loss.dtype).eps ** 0.5
    if torch.isclose(loss.detach(), recorded, rtol=rtol, atol=0.0, equal_nan=True) or view.reorderable:
        return  # no draws, or the same ones
    raise ValueError(
        f"the step's loss is {view.loss:.6g}, and {loss.item():.6g} with the math kernel of attention, the only "
        "one that has second derivatives: its dropout draws differently"
    )


@dataclass(frozen=True)
class Eigenpair:
    """The largest eigenvalue found, and its accuracy."""

    value: float  # Ritz value, never above lambda_max in exact arithmetic
    vector: Tensor  # (P,) of length 1
    residual: float  # ||Hv - value * v|| / |value|; some eigenvalue lies within value * (1 +- residual)
    products: int  # Hessian products spent


def largest_eigenpair(
    product: Callable[[Tensor], Tensor], start: Tensor, *, iterations: int, tolerance: float
) -> Eigenpair:
    """Algebraically largest eigenpair of a symmetric operator by Lanczos, restarted from its own Ritz vector.

    Arguments:
        product: v -> Hv on flat vectors (P,).
        start: starting vector, (P,), not zero.
        iterations: maximum number of products; at least 1.
        tolerance: relative residual at which to stop; checked after each cycle of `CYCLE` products.

    Raises:
        ArithmeticError: a product was not finite.
    """
    spent = 0
    while True:
        length = min(CYCLE, iterations - spent)
        pair = _lanczos(product, start, length)
        spent += pair.products
        if spent >= iterations or pair.residual <= tolerance:
            return Eigenpair(pair.value, pair.vector, pair.residual, spent)
        start = pair.vector


def _lanczos(product: Callable[[Tensor], Tensor], start: Tensor, length: int) -> Eigenpair:
    """One cycle with full reorthogonalization; numbers are fetched from the device only at its end."""
    basis = start.new_zeros((length, start.numel()))
    basis[0] = start / start.norm()
    alphas, betas = [], []
    for k in range(length):
        w = product(basis[k])
        alphas.append(basis[k] @ w)
        for _ in range(2):  # once leaves an error of order eps * ||H||; twice is enough (Parlett, 1998)
            w = w - basis[: k + 1].T @ (basis[: k + 1] @ w)
        betas.append(w.norm())
        if k + 1 < length:
            # Underflowing squares make a length wrong; the vectors after it are cut off below.
            basis[k + 1] = torch.where(betas[-1] > torch.finfo(w.dtype).tiny ** 0.5, w / betas[-1], 0.0)
    diagonal, off = (torch.stack(v).double().cpu() for v in (alphas, betas))
    if not bool(torch.isfinite(diagonal).all() and torch.isfinite(off).all()):
        raise ArithmeticError("a Hessian product is not finite")
    size = _invariant_after(diagonal, off, torch.finfo(start.dtype).eps)
    values, vectors = torch.linalg.eigh(
        diagonal[:size].diag() + off[: size - 1].diag(1) + off[: size - 1].diag(-1)
    )
    value, weights = float(values[-1]), vectors[:, -1]
    vector = weights.to(basis) @ basis[:size]
    distance = float(off[size - 1] * weights[-1].abs())
    relative = distance / abs(value) if value else (0.0 if distance == 0 else math.inf)
    return Eigenpair(value, vector / vector.norm(), relative, length)


def _invariant_after(diagonal: Tensor, off: Tensor, eps: float) -> int:
    """Number of Lanczos vectors before the next one is only rounding error."""
    scale = float(torch.maximum(diagonal.abs().max(), off.max()))
    small = (off <= 10 * eps * scale).nonzero()
    return int(small[0]) + 1 if len(small) else len(diagonal)


def starting_vector(product: HessianProduct, view: StepView, warm: Mapping[str, Tensor] | None) -> Tensor:
    """A keyed random vector, (P,), or the warm start, if it fits, plus a small multiple of that vector."""
    like = product.gradient
    source = generator(view.seed, "probe", step=view.step, part=ProbeDraws.SHARPNESS, device=like.device)
    drawn = torch.randn(like.shape, generator=source, dtype=like.dtype, device=like.device)
    drawn = torch.nn.functional.normalize(drawn, dim=0)
    if warm is None or not product.fits(warm):
        return drawn
    return torch.nn.functional.normalize(product.flat(warm), dim=0) + FRESH * drawn
