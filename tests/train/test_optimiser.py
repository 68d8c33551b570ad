"""Optimisers against their textbook updates; the penalty against the term that weight decay adds."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bncore.spec.model import Optim
from bncore.train import optimiser as optimisers
from bncore.train.optimiser import build_optimiser, grad_norm, set_learning_rate, trained, weight_penalty


def parameter(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values, dtype=torch.float64))


def step_twice(spec: Optim, w: nn.Parameter) -> torch.Tensor:
    """Two updates with gradients w and 2w (at the present w)."""
    optimiser = build_optimiser(spec, [w])
    for factor in (1, 2):
        w.grad = factor * w.detach().clone()
        optimiser.step()
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


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_a_parameter_without_gradient_neither_moves_nor_decays_nor_counts(kind: str) -> None:
    moving, idle = parameter(1.0), parameter(5.0)
    optimiser = build_optimiser(Optim(kind=kind, weight_decay=0.1), [moving, idle])
    moving.grad = torch.tensor([2.0], dtype=torch.float64)
    optimiser.step()
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
    ],
    ids=["sgd", "momentum", "adam"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_gpus_kernels_make_the_same_updates(
    spec: Optim, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two parameters, one of which has its first gradient later, at rates that change."""
    found = []
    for kinds in (set(), {"cpu"}):
        monkeypatch.setattr(optimisers, "FUSED", kinds)
        early, late = (nn.Parameter(torch.tensor(values, dtype=dtype)) for values in ([1.0, -2.0], [3.0]))
        optimiser = build_optimiser(spec, [early, late])
        for step in range(5):
            set_learning_rate(optimiser, 0.1 / (step + 1))
            early.grad = 0.5 * early.detach() + step
            late.grad = late.detach().square() if step >= 2 else None
            optimiser.step()
        found.append(torch.cat([early, late]).detach())
    torch.testing.assert_close(found[1], found[0], rtol=1e-6 if dtype == torch.float32 else 1e-14, atol=0)
