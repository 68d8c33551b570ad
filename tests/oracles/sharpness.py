"""Curvature from the full dense Hessian of a tiny network."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .measures import dense_hessian
from .network import Layer, Loss, gradients, loss_of, parameters, with_parameters


def flatten(values: Sequence[Tensor]) -> Tensor:
    """All entries as one vector, in the order of `parameters`."""
    return torch.cat([v.detach().flatten() for v in values])


def unflatten(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """The inverse of `flatten`."""
    made, at = [], 0
    for shaped in like:
        made.append(vector[at : at + shaped.numel()].reshape(shaped.shape))
        at += shaped.numel()
    return made


def hessian(
    layers: Sequence[Layer], x: Tensor, targets: Tensor, loss: Loss, *, weight_decay: float = 0.0
) -> Tensor:
    """The P×P matrix of second derivatives of the loss with respect to all parameters."""
    theta = parameters(layers)

    def of_vector(vector: Tensor) -> Tensor:
        return loss_of(
            with_parameters(layers, unflatten(vector, theta)), x, targets, loss, weight_decay=weight_decay
        )

    return dense_hessian(of_vector, flatten(theta))


def eigenvalues(
    layers: Sequence[Layer], x: Tensor, targets: Tensor, loss: Loss, *, weight_decay: float = 0.0
) -> Tensor:
    """The Hessian's eigenvalues in ascending order; the last is the sharpness λ_max."""
    matrix = hessian(layers, x, targets, loss, weight_decay=weight_decay)
    values: Tensor = torch.linalg.eigvalsh((matrix + matrix.T) / 2)
    return values


def gradient_curvature(
    layers: Sequence[Layer], x: Tensor, targets: Tensor, loss: Loss, *, weight_decay: float = 0.0
) -> float:
    """gᵀHg / ||g||², the curvature along the gradient."""
    g = flatten(gradients(layers, x, targets, loss, weight_decay=weight_decay))
    return float(g @ hessian(layers, x, targets, loss, weight_decay=weight_decay) @ g / (g @ g))
