"""Both sides of Theorems 4.1, 4.2 and 4.4 of Santurkar et al. (2018), and the algebra of Lemma 4.5.

For one layer with batch normalization: y = W x; y_hat = (y - mean) / sqrt(var + eps) over a batch of m values
(samples, and positions of a convolution); z = gamma * y_hat + beta with constant gamma and beta. L_hat is the loss
as a function of y, L the loss as a function of z. Units j are the rows of the matrices below, (C, m), in float64,
so that the measured error is that of the given gradients, not of this arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def by_unit(a: Tensor) -> Tensor:
    """[N, C] or [N, C, height, width] as (C, m) in float64."""
    return a.detach().transpose(0, 1).flatten(1).double()


@dataclass(frozen=True)
class Standardized:
    """The quantities of y and gamma that the theorems need, per unit."""

    centered: Tensor  # (C, m), y - mean
    y_hat: Tensor  # (C, m)
    gamma: Tensor  # (C,)
    var: Tensor  # (C,), biased
    var_eps: Tensor  # (C,), var + eps
    m: int

    @classmethod
    def of(cls, y: Tensor, gamma: Tensor | None, eps: float) -> Standardized:
        """From y, the norm's input, and gamma, (C,); None stands for 1."""
        rows = by_unit(y)
        centered = rows - rows.mean(1, keepdim=True)
        var = centered.square().mean(1)
        scale = torch.ones_like(var) if gamma is None else gamma.detach().double()
        y_hat = centered / (var + eps).sqrt()[:, None]
        return cls(centered, y_hat, scale, var, var + eps, rows.shape[1])


@dataclass(frozen=True)
class Theorem41:
    """Theorem 4.1 per unit, each (C,): left = scale * (plain - mean_part - correlation_part)."""

    left: Tensor  # ||dL_hat/dy_j||^2
    scale: Tensor  # gamma^2 / (var + eps)
    plain: Tensor  # ||dL/dz_j||^2
    mean_part: Tensor  # (1/m) <1, dL/dz_j>^2
    correlation_part: Tensor  # (1/m) (2 - var / (var + eps)) <dL/dz_j, y_hat_j>^2
    printed_correlation_part: Tensor  # (1/sqrt(m)) <dL/dz_j, y_hat_j>^2

    @property
    def corrected(self) -> Tensor:
        """The right side by the paper's own proof (eq. 8), in its exact form for eps > 0: an equality."""
        return self.scale * (self.plain - self.mean_part - self.correlation_part)

    @property
    def printed(self) -> Tensor:
        """The right side as printed, with 1/sqrt(m): not even an upper bound."""
        return self.scale * (self.plain - self.mean_part - self.printed_correlation_part)


def theorem_41(standardized: Standardized, at_z: Tensor, at_y: Tensor) -> Theorem41:
    """Theorem 4.1 from the gradients with respect to z and y, both in the shape of y."""
    g, d, m = by_unit(at_z), by_unit(at_y), standardized.m
    correlation = dot(g, standardized.y_hat).square()
    return Theorem41(
        left=d.square().sum(1),
        scale=standardized.gamma.square() / standardized.var_eps,
        plain=g.square().sum(1),
        mean_part=g.sum(1).square() / m,
        correlation_part=(2 - standardized.var / standardized.var_eps) * correlation / m,
        printed_correlation_part=correlation / m**0.5,
    )


@dataclass(frozen=True)
class Theorem42:
    """Theorem 4.2 for a whole layer or one of its units: left = quadratic - correction."""

    left: float  # d^T (d^2 L_hat / dy^2) d with d = dL_hat/dy
    quadratic: float  # u^T H u, H the Hessian of L with respect to z, u the change of z along d
    correction: float

    @property
    def right(self) -> float:
        """The right side of the equality."""
        return self.quadratic - self.correction


def direction_at_z(standardized: Standardized, d: Tensor) -> Tensor:
    """u, (C, m): the derivative of z along d, (C, m).

    It is gamma * d / sigma, as printed, if eps = 0 and d is the gradient at y, which is then orthogonal to y_hat.
    """
    centered = d - d.mean(1, keepdim=True)
    slope = dot(standardized.centered, d) / standardized.m / standardized.var_eps
    u: Tensor = standardized.gamma[:, None] * (
        centered / standardized.var_eps.sqrt()[:, None] - standardized.y_hat * slope[:, None]
    )
    return u


def correction_42(standardized: Standardized, at_z: Tensor, d: Tensor) -> Tensor:
    """-<dL/dz_j, second derivative of z_j along d_j>, (C,), for d_j with mean zero.

    With a = <y_j - mean, d_j>/m and s^2 = var + eps it is
    gamma (<g, y_hat> ||d||^2 / (m s^2) + 2 a <g, d> / s^3 - 3 a^2 <g, y_hat> / s^4);
    at eps = 0, where a = 0, the printed gamma <g, y_hat> ||d||^2 / (m sigma^2).
    """
    g = by_unit(at_z)
    a, s2 = dot(standardized.centered, d) / standardized.m, standardized.var_eps
    along = dot(g, standardized.y_hat)
    return standardized.gamma * (
        along * d.square().sum(1) / (standardized.m * s2)
        + 2 * a * dot(g, d) / s2**1.5
        - 3 * a.square() * along / s2.square()
    )


def theorem_44(seen: Theorem41, lam: float) -> tuple[float, float]:
    """Theorem 4.4 summed over a layer's units: the largest ||dL/dW||^2 over inputs with ||X|| <= lam.

    It follows eqs. 16-18 of the paper, with Theorem 4.1's exact form for eps > 0. (The printed form is
    inconsistent in powers.) m mu_g^2 is Theorem 4.1's mean part.

    Returns:
        the sum of g_j = lam^2 ||dL/dz_j||^2, without the norm, and the bound, the sum of
        (gamma^2/sigma^2) (g_j - lam^2 m mu_g^2 - (lam^2/m) <dL/dz_j, y_hat_j>^2).
    """
    return lam**2 * float(seen.plain.sum()), lam**2 * float(seen.corrected.sum())


def lemma_45(initial: Tensor, optimum: Tensor) -> tuple[float, float]:
    """The lemma's algebra, an equality for the point k W*, k = <W*, W_0> / ||W*||^2, in the weights' precision.

    The lemma also claims that k W* is an optimum of the network with batch normalization, which is false: see
    `bncore.probes.theory.table.counter_example`.

    Returns:
        ||W_0 - k W*||^2, and ||W_0 - W*||^2 - (||W*||^2 - <W*, W_0>)^2 / ||W*||^2.
    """
    w0, w = initial.detach().flatten(), optimum.detach().flatten()
    inner, size = w @ w0, w @ w
    left = (w0 - inner / size * w).square().sum()
    right = (w0 - w).square().sum() - (size - inner).square() / size
    return float(left), float(right)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products of the rows, (C,)."""
    return (a * b).sum(1)
