"""Switching the norm between two steps."""

from __future__ import annotations

import copy

import pytest
import torch

from bncore.config.model import MLP, Norm
from bncore.nets import ForwardMode

from .factories import NORM_KINDS, images, norm_position, small_net, small_vgg

TRACKED = ForwardMode(track=True)


@pytest.mark.parametrize("kind", NORM_KINDS)
def test_a_switch_keeps_the_very_same_gamma_and_beta(kind: str) -> None:
    net = small_vgg()
    before = [(n.weight, n.bias, n.weight.clone(), n.bias.clone()) for n in net.norms]
    net.set_norm(Norm(kind=kind))
    for norm, (gamma, beta, gamma_then, beta_then) in zip(net.norms, before, strict=True):
        assert norm.weight is gamma
        assert norm.bias is beta
        assert torch.equal(gamma, gamma_then)
        assert torch.equal(beta, beta_then)
    net(images(4), TRACKED).sum().backward()


def test_after_a_switch_statistics_are_a_cumulative_then_a_moving_average() -> None:
    norm = norm_position(Norm(kind="none", momentum=0.25), 3)
    norm.set(Norm(kind="batch", momentum=0.25))
    batches = [images(4, size=4, seed=s) for s in range(7)]
    means = [y.mean((0, 2, 3)) for y in batches]
    for n, y in enumerate(batches[:4], start=1):
        norm(y, TRACKED)
        torch.testing.assert_close(norm.running_mean, torch.stack(means[:n]).mean(0))
    expected = norm.running_mean.clone()
    for y, mean in zip(batches[4:], means[4:], strict=True):
        norm(y, TRACKED)
        expected = 0.75 * expected + 0.25 * mean
        torch.testing.assert_close(norm.running_mean, expected)


def test_a_switch_forgets_the_old_statistics_at_once() -> None:
    norm = norm_position(Norm(kind="batch"), 3)
    norm(images(4, size=4), TRACKED)
    norm.set(Norm(kind="l1"))
    assert torch.equal(norm.running_mean, torch.zeros_like(norm.running_mean))
    assert torch.equal(norm.running_var, torch.ones_like(norm.running_var))


def test_untracked_passes_do_not_count_in_the_average() -> None:
    norm = norm_position(Norm(kind="none"), 3)
    norm.set(Norm(kind="batch"))
    norm(images(4, size=4), ForwardMode())
    norm(images(4, size=4, seed=1), TRACKED)
    torch.testing.assert_close(norm.running_mean, images(4, size=4, seed=1).mean((0, 2, 3)))


def test_a_switch_to_the_same_norm_restarts_nothing() -> None:
    norm = norm_position(Norm(kind="batch"), 3)
    norm(images(4, size=4), TRACKED)
    before = copy.deepcopy(norm.state_dict())
    norm.set(Norm(kind="batch"))
    assert all(torch.equal(before[name], value) for name, value in norm.state_dict().items())


def test_the_state_dict_carries_the_average_through_a_checkpoint() -> None:
    norm = norm_position(Norm(kind="none"), 3)
    norm.set(Norm(kind="batch"))
    norm(images(4, size=4), TRACKED)
    resumed = norm_position(Norm(kind="batch"), 3)
    resumed.load_state_dict(copy.deepcopy(norm.state_dict()))
    for one in (norm, resumed):
        one(images(4, size=4, seed=1), TRACKED)
    assert torch.equal(norm.running_mean, resumed.running_mean)
    assert torch.equal(norm.running_var, resumed.running_var)


def test_parameters_out_of_use_lose_their_gradient_and_leave_the_active_ones() -> None:
    net = small_vgg()
    net(images(2), TRACKED).sum().backward()
    assert len(net.active_parameters()) == len(list(net.parameters()))
    net.set_norm(Norm(kind="none"))
    assert all(n.weight.grad is None and n.bias.grad is not None for n in net.norms)
    assert not any(name.endswith("norm.weight") for name in net.active_parameters())
    net.set_norm(Norm(kind="batch", affine="frozen"))
    assert all(n.bias.grad is None for n in net.norms)
    assert not any("norm" in name for name in net.active_parameters())


def test_a_switch_that_does_not_fit_changes_nothing() -> None:
    net = small_net(MLP(kind="mlp", hidden=(12, 8)))
    with pytest.raises(ValueError, match=r"norm\.groups: 8"):
        net.set_norm(Norm(kind="group", groups=8))
    assert [n.setting.kind for n in net.norms] == ["batch", "batch"]
