"""The stability threshold is where torch's own optimizers begin to grow on lambda * w^2 / 2."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from bncore.config.model import Optim
from bncore.config.stability import sgd_threshold, stability_threshold, threshold_label
from bncore.train.optimizer import build_optimizer

LR = 0.1
SETTINGS: dict[str, dict[str, Any]] = {
    "gradient descent": {},
    "heavy ball": {"momentum": 0.9},
    "half as heavy": {"momentum": 0.5},
    "dampened": {"momentum": 0.9, "dampening": 0.5},
    "dampening without momentum": {"dampening": 0.5},
    "nesterov": {"momentum": 0.9, "nesterov": True},
    "light nesterov": {"momentum": 0.3, "nesterov": True},
    "weight decay": {"weight_decay": 3.0},
    "weight decay under momentum": {"momentum": 0.9, "weight_decay": 3.0},
    "weight decay under nesterov": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.7},
}


def grows(
    make: Callable[[torch.nn.Parameter], torch.optim.Optimizer], curvature: float, steps: int = 6000
) -> bool:
    """Whether |w| grows over many steps on a quadratic of this curvature."""
    w = torch.nn.Parameter(torch.tensor([1e-100], dtype=torch.float64))
    optimizer = make(w)
    for _ in range(steps):
        w.grad = curvature * w.detach()
        optimizer.step()
        if not torch.isfinite(w).all() or w.abs().item() > 1e-50:
            return True
    return w.abs().item() > 1e-99


@pytest.mark.parametrize("name", SETTINGS)
def test_sgd_turns_unstable_there(name: str) -> None:
    settings = SETTINGS[name]
    threshold = sgd_threshold(LR, **settings)

    def make(w: torch.nn.Parameter) -> torch.optim.Optimizer:
        return torch.optim.SGD([w], lr=LR, **settings)

    assert not grows(make, 0.98 * threshold)
    assert grows(make, 1.02 * threshold)


@pytest.mark.parametrize("beta1", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.5])
def test_adam_s_threshold_is_that_of_the_preconditioned_hessian(beta1: float, weight_decay: float) -> None:
    """Its second moment held where it is: from there on the curvature decides that is divided by sqrt(v) + eps."""
    root, beta2 = 0.04, 0.999
    threshold = sgd_threshold(LR, momentum=beta1, dampening=beta1) * root - weight_decay

    def make(w: torch.nn.Parameter) -> torch.optim.Optimizer:
        optimizer = torch.optim.Adam([w], lr=LR, betas=(beta1, beta2), eps=0.0, weight_decay=weight_decay)
        state = optimizer.state[w]
        state["step"] = torch.tensor(1e6)  # biases have worn off
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(w), torch.zeros_like(w)
        optimizer.register_step_pre_hook(lambda *_: state["exp_avg_sq"].fill_(root**2 / beta2) and None)
        return optimizer

    assert not grows(make, 0.97 * threshold, steps=1500)
    assert grows(make, 1.03 * threshold, steps=1500)


@pytest.mark.parametrize(
    ("optim", "expected", "label"),
    [
        (Optim(lr=0.1), 20.0, "2/lr"),
        (Optim(lr=0.1, momentum=0.9), 38.0, "3.8/lr"),
        (Optim(lr=0.1, weight_decay=5e-4), 20.0 - 5e-4, "2/lr"),
        (Optim(lr=0.1, momentum=0.9, weight_decay=1.0), 37.0, "3.7/lr"),
    ],
)
def test_a_run_s_own_threshold_is_where_its_optimizer_turns_unstable(
    optim: Optim, expected: float, label: str
) -> None:
    threshold = stability_threshold(optim, optim.lr)
    assert threshold == pytest.approx(expected, rel=1e-12)
    assert threshold_label(threshold, 2 / optim.lr) == label
    assert stability_threshold(optim, optim.lr, penalized=True) == pytest.approx(
        expected + optim.weight_decay
    )
    assert not grows(lambda w: build_optimizer(optim, [w]), 0.98 * expected)
    assert grows(lambda w: build_optimizer(optim, [w]), 1.02 * expected)


@pytest.mark.parametrize(
    "optim", [Optim(kind="adam"), Optim(relative_update=0.01), Optim(kind="adam", momentum=0.9)]
)
def test_where_the_hessian_alone_decides_nothing_there_is_none(optim: Optim) -> None:
    assert math.isnan(stability_threshold(optim, 0.1))


def test_a_rate_of_zero_is_stable_whatever_the_curvature() -> None:
    assert sgd_threshold(0.0, momentum=0.9) == math.inf
