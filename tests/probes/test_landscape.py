"""The landscape is appendix A.2.2, whatever the norm, the noise and the direction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from oracles import landscape as oracle
from oracles.measures import length
from oracles.objective import cross_entropy, half_sum
from torch import Tensor

from bncore.config.model import Noise
from bncore.config.probes import Landscape, Sharpness
from bncore.probes.landscape import DIRECTIONS, LandscapeProbe
from bncore.probes.view import StepView

from .step import plain_layers, small_step

MULTIPLES = (0.01, 0.5, 1.0, 4.0)
SEARCH = Sharpness(iterations=60, tolerance=1e-8)


def along(view: StepView, direction: str = "gradient", **settings: Any) -> dict[str, Any]:
    chosen = {"multiples": MULTIPLES, "floor_every": 0, "direction": direction, **settings}
    return LandscapeProbe(Landscape.model_validate(chosen), SEARCH).measure(view)


def by_definition(
    view: StepView, pictures: bool = False, direction: list[Tensor] | None = None, weight_decay: float = 0.0
) -> oracle.Landscape:
    loss = cross_entropy if pictures else half_sum
    return oracle.landscape(
        plain_layers(view),
        view.inputs,
        view.targets,
        loss,
        lr=view.lr,
        multiples=MULTIPLES,
        direction=direction,
        weight_decay=weight_decay,
        decay=view.decay,
    )


def in_oracles_order(view: StepView, named: dict[str, Tensor]) -> list[Tensor]:
    """By name as the oracles list parameters: layer by layer weight, bias, gamma, beta."""
    order = ("weight", "bias", "norm.weight", "norm.bias")
    names = [f"layers.{i}.{own}" for i in range(len(view.net.layers)) for own in order]
    return [named[name] for name in names if name in named]


def agree(found: dict[str, Any], expected: oracle.Landscape) -> None:
    pairs = {
        "loss0": expected.loss, "grad_norm": expected.gradient_norm, "loss": expected.losses,
        "grad_diff": expected.changes, "relative": expected.relative_changes, "cosine": expected.cosines,
        "loss_min": expected.loss_band[0], "loss_max": expected.loss_band[1],
        "grad_diff_min": expected.change_band[0], "grad_diff_max": expected.change_band[1],
        "grad_diff_sum": expected.summed_changes, "grad_diff_sum_min": min(expected.summed_changes),
        "grad_diff_sum_max": max(expected.summed_changes),
        "lipschitz": expected.lipschitz, "beta": expected.beta, "beta_lr": expected.beta_lr,
        "two_over_lr": expected.lines[0], "one_over_a_min": expected.lines[1],
    }  # fmt: skip
    for name, value in pairs.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-8, atol=1e-12, err_msg=name)
    assert found["multiples"].tolist() == list(MULTIPLES)


@pytest.mark.parametrize("noise", [None, Noise(on=True)])
@pytest.mark.parametrize("pictures", [False, True])
@pytest.mark.parametrize(
    "kind", ["none", "batch", "l1", "l2", "linf", "lp:3", "layer", "group", "mean_only", "variance_only"]
)
def test_every_number_is_the_definitions(kind: str, pictures: bool, noise: Noise | None) -> None:
    view = small_step(kind, noise, pictures=pictures)
    agree(along(view), by_definition(view, pictures))


@pytest.mark.parametrize("direction", [d for d in DIRECTIONS if d != "gradient"])
def test_every_direction_is_probed_at_the_gradients_distances(direction: str) -> None:
    view = small_step()
    with torch.no_grad():
        view.net.layers[1].weight.add_(0.1)  # an optimizer that does not step along the gradient
    named = DIRECTIONS[direction](view, SEARCH)
    listed = in_oracles_order(view, named)
    size = length(list(view.grads.values()))
    scaled = [d * size / length(listed) for d in listed]
    found = along(view, direction)
    assert found["direction"] == direction
    agree(found, by_definition(view, direction=scaled))


def test_the_update_is_what_the_optimizer_did() -> None:
    view = small_step()
    with torch.no_grad():
        view.net.layers[1].weight.add_(0.25)
    moved = DIRECTIONS["update"](view, SEARCH)["layers.1.weight"]
    torch.testing.assert_close(moved, view.lr * view.grads["layers.1.weight"] - 0.25)


def test_the_hessians_direction_is_the_dense_hessians_and_points_uphill() -> None:
    view = small_step("batch", samples=12)
    names = list(view.grads)
    sizes = [view.grads[name].numel() for name in names]

    def loss(vector: Tensor) -> Tensor:
        parts = dict(zip(names, torch.split(vector, sizes), strict=True))
        return view.loss_at({**view.before, **{n: p.view_as(view.before[n]) for n, p in parts.items()}})

    point = torch.cat([view.before[name].flatten() for name in names])
    dense = torch.autograd.functional.hessian(loss, point)
    top = torch.linalg.eigh(dense).eigenvectors[:, -1]
    found = torch.cat([v.flatten() for v in DIRECTIONS["hessian"](view, SEARCH).values()])
    assert abs(torch.dot(found, top).item()) == pytest.approx(1.0, abs=1e-6)
    assert torch.dot(found, torch.cat([g.flatten() for g in view.grads.values()])) >= 0


def test_random_directions_differ_from_step_to_step_and_come_again_at_the_same() -> None:
    view = small_step()
    first, again = (DIRECTIONS["random"](view, SEARCH)["layers.0.weight"] for _ in range(2))
    other = DIRECTIONS["random"](replace(view, step=view.step + 1), SEARCH)["layers.0.weight"]
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_loss_only_points_widen_the_loss_band_and_nothing_of_the_gradients() -> None:
    view = small_step()
    plain, wider = along(view), along(view, loss_multiples=(8.0, 2.0))
    at_points = along(view, multiples=(8.0, 2.0))
    np.testing.assert_array_equal(wider["loss_between"], at_points["loss"])
    assert wider["loss_multiples"].tolist() == [8.0, 2.0]
    assert wider["loss_max"] == max(plain["loss_max"], *at_points["loss"])
    assert wider["lipschitz"] == max(plain["lipschitz"], at_points["lipschitz"])
    for name in ("beta", "grad_diff_min", "grad_diff_max", "one_over_a_min"):
        assert wider[name] == plain[name]
    assert "loss_between" not in plain


def test_on_a_quadratic_beta_is_the_curvature_along_the_gradient_at_every_length() -> None:
    """A linear layer and half a squared error: grad L is linear, so beta = ||Hg|| / ||g|| whatever a is."""
    view = small_step("none", linear=True)
    only_last = {name: g for name, g in view.grads.items() if name == "layers.2.weight"}
    view = replace(view, grads=only_last)
    found = along(view)
    ratios = found["grad_diff"] / (np.array(MULTIPLES) * view.lr * found["grad_norm"])
    np.testing.assert_allclose(ratios, found["beta"], rtol=1e-9)


def test_the_floor_is_the_difference_that_another_order_makes() -> None:
    view = small_step(samples=64)
    probe = LandscapeProbe(Landscape(multiples=(1.0,), floor_every=10), SEARCH)
    found = [probe.measure(view) for _ in range(11)]
    assert ["floor" in f for f in found] == [True, *[False] * 9, True]
    assert 0 < found[0]["floor"] < 1e-11


@pytest.mark.parametrize("field", ["grad_norm", "loss0", "beta", "floor", "lipschitz", "two_over_lr"])
def test_single_numbers_are_no_lists(field: str) -> None:
    assert np.ndim(along(small_step(), floor_every=1)[field]) == 0


def test_without_a_step_length_there_is_nothing_to_divide_by() -> None:
    with pytest.raises(ArithmeticError, match="learning rate is 0"):
        along(replace(small_step(), lr=0.0))


def test_a_loss_that_is_not_finite_is_an_error() -> None:
    with pytest.raises(ArithmeticError, match="not finite"):
        along(replace(small_step("none"), lr=1e200), multiples=(1.0,))


DECAYS = ("all", "weights")


def penalized_step(decay: str, kind: str = "batch", *, pictures: bool = False) -> StepView:
    """A step of a loss with a penalty: the optimizer's, with momentum of its own."""
    view = replace(small_step(kind, pictures=pictures), weight_decay=0.3, decay=decay)
    with torch.no_grad():
        view.net.layers[1].weight.add_(0.1)
    return view


def gradient_with_penalty(view: StepView) -> dict[str, Tensor]:
    """g + wd theta of what decays, by hand."""
    return {
        name: g + 0.3 * view.before[name] if view.decay == "all" or name in view.weights else g
        for name, g in view.grads.items()
    }


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("pictures", [False, True])
@pytest.mark.parametrize("kind", ["none", "batch", "l1", "weight"])
def test_with_the_penalty_every_number_is_of_the_penalized_loss(
    kind: str, pictures: bool, decay: str
) -> None:
    view = penalized_step(decay, kind, pictures=pictures)
    agree(along(view, penalty=True), by_definition(view, pictures, weight_decay=0.3))
    agree(along(view), by_definition(view, pictures))  # which is another


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("direction", [d for d in DIRECTIONS if d not in ("gradient", "hessian")])
def test_with_the_penalty_a_direction_is_the_same_at_the_penalized_gradients_distances(
    direction: str, decay: str
) -> None:
    view = penalized_step(decay)
    listed = in_oracles_order(view, DIRECTIONS[direction](view, SEARCH))
    size = length(list(gradient_with_penalty(view).values()))
    scaled = [d * size / length(listed) for d in listed]
    agree(along(view, direction, penalty=True), by_definition(view, direction=scaled, weight_decay=0.3))


@pytest.mark.parametrize("decay", DECAYS)
def test_with_the_penalty_the_hessian_is_that_of_the_penalized_loss(decay: str) -> None:
    """Where the weights alone decay its top eigenvector is another one."""
    view = replace(small_step("batch", samples=12), weight_decay=30.0, decay=decay)
    names = list(view.grads)
    theta = [view.before[name] for name in names]
    point = torch.cat([t.flatten() for t in theta])
    acts = torch.cat([torch.ones_like(t).flatten() * (decay == "all" or t.ndim == 2) for t in theta])

    def loss(vector: Tensor) -> Tensor:
        parts = torch.split(vector, [t.numel() for t in theta])
        moved = {n: p.view_as(t) for n, p, t in zip(names, parts, theta, strict=True)}
        return view.loss_at({**view.before, **moved})

    data = torch.autograd.functional.hessian(loss, point)
    top = torch.linalg.eigh(data + 30.0 * acts.diag()).eigenvectors[:, -1]
    found = torch.cat([v.flatten() for v in DIRECTIONS["hessian"](view.with_penalty(), SEARCH).values()])
    assert abs(torch.dot(found, top).item()) == pytest.approx(1.0, abs=1e-6)
    without = torch.linalg.eigh(data).eigenvectors[:, -1]
    assert (abs(torch.dot(found, without).item()) > 1 - 1e-6) == (decay == "all")
    slope = torch.cat([g.flatten() for g in view.grads.values()]) + 30.0 * acts * point
    assert torch.dot(found, slope) > 0
    expected = in_oracles_order(view, dict(zip(names, _like(found * slope.norm(), theta), strict=True)))
    agree(along(view, "hessian", penalty=True), by_definition(view, direction=expected, weight_decay=30.0))


def _like(vector: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    parts = torch.split(vector, [t.numel() for t in tensors])
    return [part.view_as(t) for part, t in zip(parts, tensors, strict=True)]


@pytest.mark.parametrize("decay", DECAYS)
def test_the_penalty_reaches_the_loss_only_points_and_leaves_the_floor(decay: str) -> None:
    view = penalized_step(decay)
    found = along(view, loss_multiples=(8.0, 2.0), penalty=True, floor_every=1)
    at_points = along(view, multiples=(8.0, 2.0), penalty=True)
    np.testing.assert_allclose(found["loss_between"], at_points["loss"], rtol=1e-14)
    assert found["loss_max"] == pytest.approx(max(*found["loss"], *at_points["loss"]), rel=1e-14)
    assert 0 < found["floor"] < 1e-11


def test_without_weight_decay_there_is_no_penalty_to_include() -> None:
    view = small_step()
    with_it, without = along(view, penalty=True), along(view)
    assert with_it.keys() == without.keys()
    assert all(np.array_equal(with_it[name], without[name]) for name in without)


# Mistakes of others (docs/explanation/paper.md, section 5): each would be noticed by the tests above.


def test_dividing_by_the_learning_rate_would_be_noticed() -> None:
    found = along(small_step())
    by_lr = max(found["grad_diff"]) / 0.1
    assert by_lr != pytest.approx(found["beta"], rel=0.1)


def test_the_loss_of_networks_trained_at_other_rates_would_be_noticed() -> None:
    """The course script: a network for each rate, each trained on; after two steps they are not on one line."""
    view = small_step()
    found = along(view, multiples=(0.5, 1.0, 2.0))
    losses = []
    for multiple in (0.5, 1.0, 2.0):
        theta = dict(view.before)
        for _ in range(2):
            loss, grads = view.gradient_at(theta)
            theta |= {n: theta[n] - multiple * view.lr * g for n, g in grads.items()}
        losses.append(loss.item() if math.isfinite(loss) else math.inf)
    assert losses == pytest.approx(found["loss"].tolist())  # the first step is the same line ...
    further = [view.loss_at({**theta}).item()]
    assert further[0] != pytest.approx(found["loss"][2], rel=0.01)  # ... and the second leaves it


def test_another_vector_than_the_raw_gradient_would_be_noticed() -> None:
    view = small_step()
    with torch.no_grad():
        for name, p in view.net.named_parameters():
            if name in view.grads:  # a sign step, as Adam's first is
                p.copy_(view.before[name] - view.lr * view.grads[name].sign())
    assert along(view, "update")["beta"] != pytest.approx(along(view)["beta"], rel=0.05)
