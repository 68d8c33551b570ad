"""Normalizations and noise, computed one unit at a time. Activations are (N, C) or (N, C, H, W)."""

import math

import torch
from torch import Tensor


def mean_and_variance(values: Tensor) -> tuple[Tensor, Tensor]:
    """The mean Σ v / m and the biased variance Σ (v − mean)² / m over all values of a tensor."""
    m = values.numel()
    mean = values.sum() / m
    return mean, ((values - mean) ** 2).sum() / m


def lp_scale(values: Tensor, p: float, eps: float) -> Tensor:
    """Section 3.3: s_p = (mean |y|^p + ε)^(1/p); s_∞ = max |y|, with no ε at p = ∞."""
    if math.isinf(p):
        return values.abs().max()
    return ((values.abs() ** p).sum() / values.numel() + eps) ** (1 / p)


def order_of(kind: str) -> float:
    """The p of "l1", "l2", "linf" and "lp:<p>"."""
    return float(kind.removeprefix("lp:") if kind.startswith("lp:") else kind.removeprefix("l"))


def normalize_unit(y: Tensor, kind: str, eps: float, centered: bool) -> Tensor:
    """ŷ of one unit from its values over the batch (and positions), with the statistics of those values.

    batch: (y − mean)/√(var + ε).  l_p: (y − mean)/s_p of the **uncentered** y (centered: s_p of y − mean).
    mean_only: y − mean.  variance_only: y/√(var + ε).
    batch_detached: batch, "no gradient through the statistics".
    """
    mean, variance = mean_and_variance(y)
    if kind == "batch":
        return (y - mean) / (variance + eps).sqrt()
    if kind == "batch_detached":
        return (y - mean.detach()) / (variance.detach() + eps).sqrt()
    if kind == "mean_only":
        return y - mean
    if kind == "variance_only":
        return y / (variance + eps).sqrt()
    return (y - mean) / lp_scale(y - mean if centered else y, order_of(kind), eps)


def normalize_samples(y: Tensor, groups: int, eps: float) -> Tensor:
    """(y − mean)/√(var + ε) per sample, over each of `groups` runs of channels and their positions."""
    size = y.shape[1] // groups
    rows = []
    for sample in y:
        parts = []
        for g in range(groups):
            part = sample[g * size : (g + 1) * size]
            mean, variance = mean_and_variance(part)
            parts.append((part - mean) / (variance + eps).sqrt())
        rows.append(torch.cat(parts))
    return torch.stack(rows)


def normalize(
    y: Tensor,
    kind: str,
    *,
    eps: float = 0.0,
    centered: bool = False,
    groups: int = 1,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
) -> Tensor:
    """ŷ for any kind, before γ and β; "weight" leaves y alone (it acts on the weight, see network.py).

    layer: one group. instance: as many groups as channels. batch_population: the given running statistics.
    """
    if kind in ("none", "weight"):
        return y
    if kind in ("layer", "group", "instance"):
        return normalize_samples(y, {"layer": 1, "group": groups, "instance": y.shape[1]}[kind], eps)
    units = []
    for j in range(y.shape[1]):
        if kind == "batch_population":
            assert running_mean is not None and running_var is not None
            units.append((y[:, j] - running_mean[j]) / (running_var[j] + eps).sqrt())
        else:
            units.append(normalize_unit(y[:, j], kind, eps, centered))
    return torch.stack(units, dim=1)


def affine(y: Tensor, gamma: Tensor | None, beta: Tensor | None) -> Tensor:
    """z_j = γ_j ŷ_j + β_j, unit by unit (channel by channel, also for per-sample norms)."""
    units = []
    for j in range(y.shape[1]):
        unit = y[:, j]
        if gamma is not None:
            unit = gamma[j] * unit
        if beta is not None:
            unit = unit + beta[j]
        units.append(unit)
    return torch.stack(units, dim=1)


def next_running(running: Tensor, y: Tensor, momentum: float, *, variance: bool) -> Tensor:
    """Running statistic after one training pass: (1 − momentum)·old + momentum·batch statistic, per unit.

    The running variance is updated with the unbiased variance Σ (v − mean)² / (m − 1).
    """
    after = []
    for j in range(y.shape[1]):
        m = y[:, j].numel()
        mean, biased = mean_and_variance(y[:, j])
        seen = biased * m / (m - 1) if variance else mean
        after.append((1 - momentum) * running[j] + momentum * seen)
    return torch.stack(after)


def noise_from_draws(
    u_mu: Tensor, u_sigma: Tensor, u_m: Tensor, n_s: Tensor,
    *, n_mu: float = 0.5, n_sigma: float = 1.25, r_mu: float = 0.1, r_sigma: float = 0.1,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Algorithm 1 from given standard draws: the arrays (m, s), shaped like `u_m`, (N, C, ...).

    μ_j ~ U(−n_μ, n_μ) and σ_j ~ U(1, n_σ) from u_mu, u_sigma (C,) in [0, 1);
    m_ij ~ U(μ_j − r_μ, μ_j + r_μ) from u_m in [0, 1), s_ij ~ N(σ_j, r_σ) from the standard normal n_s.
    """
    m, s = torch.empty_like(u_m), torch.empty_like(n_s)
    for j in range(u_m.shape[1]):
        mu = -n_mu + 2 * n_mu * u_mu[j]
        sigma = 1 + (n_sigma - 1) * u_sigma[j]
        m[:, j] = (mu - r_mu) + 2 * r_mu * u_m[:, j]
        s[:, j] = sigma + r_sigma * n_s[:, j]
    return m, s


def add_noise(a: Tensor, m: Tensor, s: Tensor) -> Tensor:
    """Algorithm 1's last line: a_ij ← s_ij · a_ij + m_ij."""
    return s * a + m
