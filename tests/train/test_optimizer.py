"""Optimizers against their textbook updates; the penalty against the term that weight decay adds."""

from __future__ import annotations

import pytest
import torch
from oracles.objective import adam_step, momentum_step
from torch import nn

from bncore.config.model import Optim
from bncore.train import optimizer as optimizers
from bncore.train.optimizer import (
    build_optimizer,
    decayed,
    grad_norm,
    set_learning_rate,
    trained,
    weight_penalty,
)


def parameter(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values, dtype=torch.float64))


def step_twice(spec: Optim, w: nn.Parameter) -> torch.Tensor:
    """Two updates with gradients w and 2w (at the present w)."""
    optimizer = build_optimizer(spec, [w])
    for factor in (1, 2):
        w.grad = factor * w.detach().clone()
        optimizer.step()
    return w.detach()


def test_sgd_with_momentum_and_weight_decay() -> None:
    lr, mu, wd, w0 = 0.1, 0.9, 0.01, 3.0
    v = w0 + wd * w0
    w1 = w0 - lr * v
    v = mu * v + 2 * w1 + wd * w1
    assert step_twice(Optim(lr=lr, momentum=mu, weight_decay=wd), parameter(w0)).item() == pytest.approx(
        w1 - lr * v, rel=1e-14
    )


def test_adam() -> None:
    lr, (b1, b2), eps, w = 0.1, (0.9, 0.999), 1e-8, 3.0
    m = v = 0.0
    for t, factor in ((1, 1), (2, 2)):
        g = factor * w
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        w -= lr * (m / (1 - b1**t)) / ((v / (1 - b2**t)) ** 0.5 + eps)
    assert step_twice(Optim(kind="adam", lr=lr), parameter(3.0)).item() == pytest.approx(w, rel=1e-12)


def test_penalty_is_what_weight_decay_differentiates() -> None:
    a, b = parameter(1.0, -2.0), parameter(3.0)
    a.grad, b.grad = torch.zeros_like(a), torch.zeros_like(b)
    assert weight_penalty([a, b], 0.1).item() == pytest.approx(0.05 * (1 + 4 + 9))


WEIGHTS_DECAY = {
    "sgd": Optim(lr=0.1, weight_decay=0.05, decay="weights"),
    "momentum": Optim(lr=0.1, momentum=0.9, weight_decay=0.05, decay="weights"),
    "adam": Optim(kind="adam", lr=0.1, weight_decay=0.05, decay="weights"),
}


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("kind", WEIGHTS_DECAY)
def test_weights_decay_and_nothing_else(kind: str, fused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A linear map's, a convolution's, and what has one dimension, each by the textbook's formula."""
    monkeypatch.setattr(optimizers, "FUSED", {"cpu"} if fused else set())
    spec = WEIGHTS_DECAY[kind]
    shapes = ((3,), (2, 3), (2,), (2, 3, 3, 3))
    drawn = torch.Generator().manual_seed(1)
    parameters = [nn.Parameter(torch.randn(shape, dtype=torch.float64, generator=drawn)) for shape in shapes]
    expected = [p.detach().clone() for p in parameters]
    first = [torch.zeros_like(p) for p in expected]
    second = [torch.zeros_like(p) for p in expected]
    optimizer = build_optimizer(spec, parameters)
    for step in range(4):
        set_learning_rate(optimizer, lr := 0.1 / (step + 1))
        for i, p in enumerate(parameters):
            p.grad = torch.randn(p.shape, dtype=p.dtype, generator=drawn)
            decay = 0.05 if p.ndim > 1 else 0.0
            if kind == "adam":
                expected[i], first[i], second[i] = adam_step(
                    expected[i], p.grad, first[i], second[i], step=step + 1, lr=lr, weight_decay=decay
                )
            else:
                expected[i], first[i] = momentum_step(
                    expected[i], p.grad, first[i], lr=lr, momentum=spec.momentum, weight_decay=decay
                )
        optimizer.step()
    for p, wanted in zip(parameters, expected, strict=True):
        torch.testing.assert_close(p.detach(), wanted, rtol=1e-12, atol=1e-14)


def test_where_everything_decays_there_is_one_group_as_in_old_checkpoints() -> None:
    parameters = [parameter(1.0), nn.Parameter(torch.ones(2, 2, dtype=torch.float64))]
    saved = torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.1).state_dict()
    optimizer = build_optimizer(Optim(lr=0.1, momentum=0.9, weight_decay=0.1), parameters)
    assert [group["params"] for group in saved["param_groups"]] == [[0, 1]]
    assert optimizer.state_dict() == saved


def test_the_penalty_is_that_of_what_decays() -> None:
    matrix, vector = nn.Parameter(torch.full((2, 2), 2.0)), nn.Parameter(torch.ones(3))
    both = [vector, matrix]
    assert decayed(Optim(), both) == both
    assert decayed(Optim(decay="weights"), both) == [matrix]
    assert weight_penalty(decayed(Optim(decay="weights"), both), 0.1).item() == pytest.approx(0.05 * 16)


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_a_parameter_without_gradient_neither_moves_nor_decays_nor_counts(kind: str) -> None:
    moving, idle = parameter(1.0), parameter(5.0)
    optimizer = build_optimizer(Optim(kind=kind, weight_decay=0.1), [moving, idle])
    moving.grad = torch.tensor([2.0], dtype=torch.float64)
    optimizer.step()
    assert idle.item() == 5.0
    assert moving.item() != 1.0
    assert trained([moving, idle]) == [moving]
    assert grad_norm([moving, idle]).item() == 2.0


@pytest.mark.parametrize(
    "spec",
    [
        Optim(lr=0.1),
        Optim(lr=0.1, momentum=0.9, weight_decay=0.01),
        Optim(kind="adam", lr=0.1, weight_decay=0.01),
        *WEIGHTS_DECAY.values(),
    ],
    ids=["sgd", "momentum", "adam", *(f"{kind}, weights decay" for kind in WEIGHTS_DECAY)],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_gpus_kernels_make_the_same_updates(
    spec: Optim, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two parameters, one of which has its first gradient later, at rates that change."""
    found = []
    for kinds in (set(), {"cpu"}):
        monkeypatch.setattr(optimizers, "FUSED", kinds)
        early, late = (nn.Parameter(torch.tensor(values, dtype=dtype)) for values in ([[1.0, -2.0]], [3.0]))
        optimizer = build_optimizer(spec, [early, late])
        for step in range(5):
            set_learning_rate(optimizer, 0.1 / (step + 1))
            early.grad = 0.5 * early.detach() + step
            late.grad = late.detach().square() if step >= 2 else None
            optimizer.step()
        found.append(torch.cat([early[0], late]).detach())
    torch.testing.assert_close(found[1], found[0], rtol=1e-6 if dtype == torch.float32 else 1e-14, atol=0)
