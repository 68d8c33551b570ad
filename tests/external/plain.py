"""A plain loop in float64, which says at each update what the landscape should be."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .factories import Event, probe_at

MULTIPLES = (0.5, 1.0, 2.0, 4.0)


def plain_landscapes(
    net: nn.Module, loss_of: Callable[[Any, Any], Tensor], updates: Sequence[Sequence[Any]], lr: float
) -> list[list[float]]:
    """Of each update by SGD on the mean of its batches: loss, gradient's norm, the losses along the gradient."""
    net = copy.deepcopy(net).double()
    parameters = list(net.parameters())
    found = []
    for batches in updates:
        theta = [p.detach().clone() for p in parameters]

        def loss(batches: Sequence[Any] = batches) -> Tensor:
            return torch.stack([loss_of(net, batch) for batch in batches]).mean()

        here = loss()
        grads = torch.autograd.grad(here, parameters)
        numbers = [here.item(), float(sum(g.square().sum() for g in grads)) ** 0.5]
        for multiple in (*MULTIPLES, 1.0):  # the last is the update
            with torch.no_grad():
                for p, t, g in zip(parameters, theta, grads, strict=True):
                    p.copy_(t - multiple * lr * g)
                numbers.append(loss().item())
        found.append(numbers[:-1])
    return found


def assert_landscapes(events: list[Event], expected: list[list[float]], rtol: float) -> None:
    for step, numbers in enumerate(expected):
        event = probe_at(events, "landscape", step)
        np.testing.assert_allclose([event["loss0"], event["grad_norm"], *event["loss"]], numbers, rtol=rtol)
