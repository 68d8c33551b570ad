"""Few samples with the batch's moments give the batch's gradients, and only where moments are all that counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from bncore.config.base import NORM_KINDS
from bncore.config.model import DLN, MLP, GaussianData, Loss, Noise, Norm, Spec
from bncore.config.probes import Ics
from bncore.nets import build
from bncore.probes.ics import IcsProbe, layerwise_gradients
from bncore.probes.moments import BY_MOMENTS, moments_suffice, with_few_samples
from bncore.probes.view import StepView

from .step import drawn, frozen, step_of

REDUCTIONS = ("mean", "sum", "half_sum")


def dln(norm: str = "batch", *, reduction: str = "half_sum", noise: bool = False) -> tuple[StepView, Loss]:
    """A step of six linear layers on 80 pairs of 4 + 4 numbers, of rank 4 as y = A x is."""
    loss = Loss.model_validate({"kind": "squared_error", "reduction": reduction})
    spec = Spec(
        net=DLN(depth=6, width=5), norm=Norm(kind=norm, bias=False, groups=1), noise=Noise(on=noise),
        data=GaussianData(), loss=loss, precision="float64",
    )  # fmt: skip
    net = build(spec, inputs=(4,), outputs=4)
    x = drawn(80, 4, seed=1) + 0.3
    return step_of(net, x, x @ drawn(4, 4, seed=2), loss, lr=1e-4), loss


def moments(x: Tensor, y: Tensor) -> Tensor:
    rows = torch.cat([x, y, torch.ones(len(x), 1, dtype=x.dtype)], dim=1)
    return rows.T @ rows / len(rows)


def test_few_samples_have_the_batchs_first_and_second_moments() -> None:
    view, loss = dln()
    few = with_few_samples(view, loss)
    assert len(few.inputs) == len(few.targets) == 9
    torch.testing.assert_close(
        moments(few.inputs, few.targets), moments(view.inputs, view.targets), rtol=1e-12, atol=1e-13
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("norm", sorted(BY_MOMENTS))
def test_losses_and_gradients_are_those_of_the_whole_batch(norm: str, reduction: str) -> None:
    view, loss = dln(norm, reduction=reduction)
    few = with_few_samples(view, loss)
    (one, many), (one_grads, many_grads) = zip(
        few.gradient_at(view.before), view.gradient_at(view.before), strict=True
    )
    torch.testing.assert_close(one, many, rtol=1e-12, atol=0)
    size = max(
        g.norm().item() for g in many_grads.values()
    )  # a beta before a norm has no gradient but rounding
    for name in many_grads:
        torch.testing.assert_close(one_grads[name], many_grads[name], rtol=1e-10, atol=1e-13 * size)


@pytest.mark.parametrize("norm", sorted(BY_MOMENTS))
def test_ics_by_moments_is_that_of_the_definition(norm: str) -> None:
    view, loss = dln(norm)
    before = frozen(view)
    found = IcsProbe(Ics(floor_every=1), loss).measure(view)
    assert found["method"] == "moments"
    expected = layerwise_gradients(view, view.after, range(6))
    for i, g in enumerate(expected):
        l2 = (g - view.grads[f"layers.{i}.weight"]).norm().item()
        assert found["l2"][i] == pytest.approx(l2, rel=1e-6, abs=5 * found["floor"].max())
    assert (found["floor"] < 1e-9 * np.array([g.norm() for g in expected])).all()
    assert all(torch.equal(value, before[name]) for name, value in frozen(view).items())


def test_a_batch_of_no_more_samples_is_left_alone() -> None:
    view, loss = dln()
    small = replace(view, inputs=view.inputs[:9], targets=view.targets[:9])
    assert with_few_samples(small, loss) is small


@pytest.mark.parametrize("norm", [k for k in NORM_KINDS if k not in BY_MOMENTS and k != "instance"])
def test_other_norms_need_every_sample(norm: str) -> None:
    """And would be wrong with few."""
    view, loss = dln(norm)
    assert not moments_suffice(view.net, loss)
    few = with_few_samples(view, loss)
    assert few.loss_at(view.before).item() != pytest.approx(view.loss, rel=1e-6)
    found = IcsProbe(Ics(floor_every=0), loss).measure(view)
    assert found["method"] == "growing batch"


def test_noise_activations_and_other_losses_need_every_sample() -> None:
    noisy, loss = dln(noise=True)
    assert not moments_suffice(noisy.net, loss)
    plain, _ = dln()
    assert moments_suffice(plain.net, loss) and not moments_suffice(plain.net, Loss())
    mlp = build(Spec(net=MLP(hidden=(5,)), precision="float64"), inputs=(4,), outputs=4)
    assert not moments_suffice(mlp, loss)
