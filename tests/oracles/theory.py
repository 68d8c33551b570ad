"""Both sides of the paper's theorems. y and ĝ are vectors (m,) for one unit and (m, n) for a layer; m samples."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .measures import dense_hessian, dot, gradient_of, jacobian
from .network import Layer, Loss, tail_loss, trace
from .normalize import mean_and_variance


def standardize(y: Tensor, eps: float) -> Tensor:
    """ŷ = (y − μ)/√(σ² + ε) for one unit."""
    mean, variance = mean_and_variance(y)
    return (y - mean) / (variance + eps).sqrt()


def gradient_at_y(y: Tensor, g: Tensor, gamma: float, eps: float) -> Tensor:
    """∇_{y_j}L̂ for one unit from ĝ = ∇_{z_j}L, through the explicit m×m Jacobian of z = γŷ(y) + β."""
    return jacobian(lambda v: gamma * standardize(v, eps), y).T @ g


@dataclass(frozen=True)
class Thm41:
    """Theorem 4.1 for one unit: left = scale · (norm − mean_part − correlation_part)."""

    left: float  # ||∇_{y_j} L̂||²
    scale: float  # γ²/(σ² + ε)
    norm: float  # ||∇_{y_j} L||²
    mean_part: float  # (1/m)⟨1, ∇L⟩²
    correlation_part: float  # (1/m)(2 − σ²/(σ²+ε))⟨∇L, ŷ⟩²
    printed_correlation_part: float  # (1/√m)⟨∇L, ŷ⟩²

    @property
    def corrected(self) -> float:
        """Right-hand side by the proof (eq. 8): an equality."""
        return self.scale * (self.norm - self.mean_part - self.correlation_part)

    @property
    def printed(self) -> float:
        """Right-hand side as printed."""
        return self.scale * (self.norm - self.mean_part - self.printed_correlation_part)


def thm41(y: Tensor, g: Tensor, gamma: float, eps: float = 0.0) -> Thm41:
    """||∇_{y_j}L̂||² = (γ²/σ²)(||∇_{y_j}L||² − (1/m)⟨1, ∇_{y_j}L⟩² − (1/m)⟨∇_{y_j}L, ŷ_j⟩²); "with ε > 0:
    σ² + ε in the factor, and (1/m)(2 − σ²/(σ²+ε)) in place of the last 1/m". g is the gradient at z_j.
    """
    m = len(y)
    variance = float(mean_and_variance(y)[1])
    correlation = dot([g], [standardize(y, eps)])
    at_y = gradient_at_y(y, g, gamma, eps)
    return Thm41(
        left=dot([at_y], [at_y]),
        scale=gamma**2 / (variance + eps),
        norm=dot([g], [g]),
        mean_part=sum(g.tolist()) ** 2 / m,
        correlation_part=(2 - variance / (variance + eps)) * correlation**2 / m,
        printed_correlation_part=correlation**2 / math.sqrt(m),
    )


def as_matrix(a: Tensor) -> Tensor:
    """(N, C) or (N, C, H, W) as (m, C), with one row per sample and position."""
    return a if a.dim() == 2 else torch.stack([a[:, j].flatten() for j in range(a.shape[1])], dim=1)


def as_activation(matrix: Tensor, shape: Sequence[int]) -> Tensor:
    """The inverse of `as_matrix`."""
    rest = [shape[0], *shape[2:]]
    return torch.stack([matrix[:, j].reshape(rest) for j in range(matrix.shape[1])], dim=1)


@dataclass(frozen=True)
class LayerView:
    """One batch-normalized layer inside a network, as the theorems see it."""

    y: Tensor  # (m, n)
    gamma: Tensor  # (n,), ones if the layer has none
    beta: Tensor  # (n,), zeros if the layer has none
    eps: float
    loss_of_z: Callable[[Tensor], Tensor]  # (m, n) → scalar, the rest of the network


def layer_view(layers: Sequence[Layer], index: int, x: Tensor, targets: Tensor, loss: Loss) -> LayerView:
    """Layer `index` of a network: its y, γ, β and the loss as a function of z = γŷ + β."""
    y = trace(layers, x)[index].y.detach()
    rest, layer = tail_loss(layers, index, targets, loss), layers[index]
    units = y.new_ones(y.shape[1])
    return LayerView(
        y=as_matrix(y),
        gamma=units if layer.gamma is None else layer.gamma.detach(),
        beta=0 * units if layer.beta is None else layer.beta.detach(),
        eps=layer.eps,
        loss_of_z=lambda z: rest(as_activation(z, y.shape)),
    )


def z_of(view: LayerView, y: Tensor) -> Tensor:
    """z_j = γ_j ŷ_j + β_j for all units, from y (m, n)."""
    return torch.stack(
        [view.gamma[j] * standardize(y[:, j], view.eps) + view.beta[j] for j in range(y.shape[1])], dim=1
    )


def thm41_layer(view: LayerView) -> list[Thm41]:
    """Theorem 4.1 for every unit of a layer."""
    g = gradient_of(view.loss_of_z, z_of(view, view.y))
    return [thm41(view.y[:, j], g[:, j], float(view.gamma[j]), view.eps) for j in range(g.shape[1])]


@dataclass(frozen=True)
class Thm42:
    """Theorem 4.2: both sides for the layer as a whole and for each unit alone."""

    left: float  # dᵀ ∂²L̂/∂y² d
    right: float  # uᵀHu − Σ_j γ_j⟨ĝ_j, ŷ_j⟩||d_j||²/(m σ_j²)
    unit_left: list[float]
    unit_right: list[float]
    quadratic: float  # uᵀHu
    correction: float  # Σ_j γ_j⟨ĝ_j, ŷ_j⟩||d_j||²/(m σ_j²)


def thm42(view: LayerView) -> Thm42:
    """dᵀ(∂²L̂/∂y_j²)d ≤ (γ²/σ²) dᵀHd − (γ/(mσ²))⟨ĝ, ŷ_j⟩||d||², "an equality for ε = 0"; for a whole layer
    dᵀ∂²L̂d = uᵀHu − Σ_j γ_j⟨ĝ_j, ŷ_j⟩||d_j||²/(mσ_j²) with u_j = γ_j d_j/σ_j. d = ∂L̂/∂y; H and ĝ are at z.

    For ε > 0, σ² stands for σ² + ε, and the equality is no longer exact.
    """
    y, gamma = view.y, view.gamma
    m, n = y.shape
    z = z_of(view, y).detach()
    d = gradient_of(lambda v: view.loss_of_z(z_of(view, v)), y)
    g = gradient_of(view.loss_of_z, z)
    at_y = dense_hessian(lambda v: view.loss_of_z(z_of(view, v)), y)
    at_z = dense_hessian(view.loss_of_z, z)
    variance = torch.stack([mean_and_variance(y[:, j])[1] + view.eps for j in range(n)])
    y_hat = torch.stack([standardize(y[:, j], view.eps) for j in range(n)], dim=1)
    u = gamma * d / variance.sqrt()
    corrections, lefts, rights = [], [], []
    for j in range(n):
        ratio = float(gamma[j] / (m * variance[j]))
        corrections.append(ratio * dot([g[:, j]], [y_hat[:, j]]) * dot([d[:, j]], [d[:, j]]))
        lefts.append(float(d[:, j] @ at_y[:, j, :, j] @ d[:, j]))
        inner = float(d[:, j] @ at_z[:, j, :, j] @ d[:, j])
        rights.append(float(gamma[j] ** 2 / variance[j]) * inner - corrections[-1])
    left = float(torch.einsum("ij,ijkl,kl->", d, at_y, d))
    quadratic = float(torch.einsum("ij,ijkl,kl->", u, at_z, u))
    return Thm42(left, quadratic - sum(corrections), lefts, rights, quadratic, sum(corrections))


@dataclass(frozen=True)
class Thm44:
    """Theorem 4.4 for one unit, as the maximum over ||X|| ≤ λ."""

    plain: float  # g_j = λ² ||∇_{y_j}L||², without BatchNorm
    normalized: float  # ĝ_j = λ² ||∇_{y_j}L̂||², the maximum itself
    bound: float  # (γ²/σ²)(g_j − λ² m μ_g² − (λ²/m)⟨∇_{y_j}L, ŷ_j⟩²)


def thm44(y: Tensor, g: Tensor, gamma: float, lam: float) -> Thm44:
    """ "Following eqs. 16-18, ĝ_j = (γ²/σ²)(g_j − λ² m μ_g² − (λ²/m)⟨∇_{y_j}L, ŷ_j⟩²)", μ_g the mean of
    ∇_{y_j}L over the batch, g_j and ĝ_j the largest ||∇_{W_j}||² = ||Xᵀ∇_{y_j}||² over ||X|| ≤ λ (ε = 0).
    """
    m = len(y)
    at_y = gradient_at_y(y, g, gamma, 0.0)
    variance = float(mean_and_variance(y)[1])
    mu_g = sum(g.tolist()) / m
    plain = lam**2 * dot([g], [g])
    correlation = dot([g], [standardize(y, 0.0)])
    bound = gamma**2 / variance * (plain - lam**2 * m * mu_g**2 - lam**2 / m * correlation**2)
    return Thm44(plain, lam**2 * dot([at_y], [at_y]), bound)


@dataclass(frozen=True)
class Lemma45:
    """Lemma 4.5 for flattened weights."""

    aligned: bool  # ⟨W_0, W*⟩ > 0, the lemma's premise
    k: float  # ⟨W*, W_0⟩/||W*||²
    left: float  # ||W_0 − kW*||²
    right: float  # ||W_0 − W*||² − (||W*||² − ⟨W*, W_0⟩)²/||W*||²


def lemma45(initial: Tensor, optimum: Tensor) -> Lemma45:
    """||W_0 − Ŵ*||² ≤ ||W_0 − W*||² − (||W*||² − ⟨W*, W_0⟩)²/||W*||² if ⟨W_0, W*⟩ > 0; "exact for
    Ŵ = kW*".
    """
    inner, size = dot([optimum], [initial]), dot([optimum], [optimum])
    k = inner / size
    to_scaled, to_optimum = initial - k * optimum, initial - optimum
    right = dot([to_optimum], [to_optimum]) - (size - inner) ** 2 / size
    return Lemma45(inner > 0, k, dot([to_scaled], [to_scaled]), right)
