"""Losses and single optimizer steps, written by hand."""

import math

import torch
from torch import Tensor


def squared_error(outputs: Tensor, targets: Tensor, reduction: str) -> Tensor:
    """Σ (o − t)² over samples and dimensions ("sum"), half of it ("half_sum"), or the mean of all N·d entries."""
    total = outputs.new_zeros(())
    for o, t in zip(outputs, targets, strict=True):
        total = total + ((o - t) ** 2).sum()
    return {"half_sum": 0.5 * total, "sum": total, "mean": total / outputs.numel()}[reduction]


def half_sum(outputs: Tensor, targets: Tensor) -> Tensor:
    """½ Σ (o − t)², the DLN's loss."""
    return squared_error(outputs, targets, "half_sum")


def cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """The mean over samples of −log(exp(l_c) / Σ_k exp(l_k)), where c is the sample's class."""
    total = logits.new_zeros(())
    for row, c in zip(logits, classes.tolist(), strict=True):
        top = row.detach().max()  # subtracted from both parts, which only prevents overflow
        total = total - (row[c] - top - (row - top).exp().sum().log())
    return total / len(logits)


def accuracy(logits: Tensor, classes: Tensor) -> float:
    """Fraction of samples whose largest logit is that of their class."""
    right = 0
    for row, c in zip(logits.tolist(), classes.tolist(), strict=True):
        right += row.index(max(row)) == c
    return right / len(logits)


def sgd_step(theta: Tensor, g: Tensor, lr: float, weight_decay: float = 0.0) -> Tensor:
    """θ − lr (g + λ θ)."""
    return theta - lr * (g + weight_decay * theta)


def momentum_step(
    theta: Tensor, g: Tensor, velocity: Tensor, *, lr: float, momentum: float, weight_decay: float = 0.0
) -> tuple[Tensor, Tensor]:
    """v' = μ v + (g + λ θ), θ' = θ − lr v' (heavy ball without dampening, v = 0 before the first step)."""
    velocity = momentum * velocity + (g + weight_decay * theta)
    return theta - lr * velocity, velocity


def adam_step(
    theta: Tensor, g: Tensor, first: Tensor, second: Tensor,
    *, step: int, lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Adam (Kingma and Ba, algorithm 1), with `step` counted from 1 and the penalty λθ included in g.

    m' = β1 m + (1−β1) g, v' = β2 v + (1−β2) g², θ' = θ − lr m̂/(√v̂ + ε) with m̂ = m'/(1−β1^t), v̂ = v'/(1−β2^t).
    """
    g = g + weight_decay * theta
    first = betas[0] * first + (1 - betas[0]) * g
    second = betas[1] * second + (1 - betas[1]) * g**2
    m_hat = first / (1 - math.pow(betas[0], step))
    v_hat = second / (1 - math.pow(betas[1], step))
    return theta - lr * m_hat / (torch.sqrt(v_hat) + eps), first, second
