"""A few samples with the moments of many: exact for a linear network with squared error.

Between two norms, every layer's output is then a linear function of the pair (x, target), and the norms, the loss
and its gradients depend only on the pairs' batch mean and second moments. Hence any samples with the same moments
give the same gradients: d + 1 of them for pairs of d numbers, such as 21 for the deep linear network's 1000.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from bncore.config.model import Loss
from bncore.nets import LayeredNet
from bncore.probes.view import StepView

BY_MOMENTS = frozenset(
    {"none", "weight", "batch", "l2", "mean_only", "variance_only", "batch_detached", "batch_population"}
)
"""Norm kinds that depend only on first and second moments, or on no statistics at all."""


def moments_suffice(net: LayeredNet, loss: Loss) -> bool:
    """Whether gradients depend only on the first and second moments of (x, target)."""
    return loss.kind == "squared_error" and all(
        layer.activation is None
        and not (layer.convolution or layer.pool)
        and (layer.norm is None or layer.norm.setting.kind in BY_MOMENTS)
        and not (layer.noise_input or layer.noise_before_norm or layer.noise_after_norm)
        for layer in net.layers
    )


def with_few_samples(view: StepView, loss: Loss) -> StepView:
    """The same step on d + 1 samples with the batch's moments; the view itself if the batch has no more samples.

    Let Z be the pairs minus their mean, Z = QR, and U a matrix of d orthonormal columns orthogonal to (1, ..., 1).
    Then the rows of mean + sqrt((d + 1) / n) U R have the mean and the second moments of the n pairs.

    Arguments:
        view: the view of a network for which `moments_suffice`.
        loss: the view's criterion.
    """
    inputs = view.inputs.flatten(1)
    pairs = torch.cat([inputs, view.targets], dim=1).double()
    n, d = pairs.shape
    if n <= d + 1:
        return view
    mean = pairs.mean(0)
    triangle = torch.linalg.qr(pairs - mean, mode="r").R  # (d, d), whatever the rank of Z
    few = mean + ((d + 1) / n) ** 0.5 * _orthogonal_to_ones(pairs.new_ones(d + 1)) @ triangle
    few = few.to(view.inputs.dtype)
    weight = 1.0 if loss.reduction == "mean" else n / (d + 1)
    return replace(
        view,
        inputs=few[:, : inputs.shape[1]].reshape(-1, *view.inputs.shape[1:]),
        targets=few[:, inputs.shape[1] :],
        criterion=lambda outputs, targets: weight * view.criterion(outputs, targets),
    )


def _orthogonal_to_ones(ones: Tensor) -> Tensor:
    """A (d + 1, d) matrix of orthonormal columns, each with sum 0."""
    basis = torch.cat([ones.unsqueeze(1), torch.eye(len(ones)).to(ones)[:, 1:]], dim=1)
    q: Tensor = torch.linalg.qr(basis).Q
    return q[:, 1:]
