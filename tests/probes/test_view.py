"""The view computes what the training step computed, at any parameters, and moves nothing."""

from __future__ import annotations

import pytest
import torch

from bncore.config.model import Noise

from .step import frozen, small_step

KINDS = (
    "none", "batch", "l1", "l2", "linf", "lp:3", "layer", "group", "mean_only", "variance_only",
    "batch_detached", "batch_population", "weight",
)  # fmt: skip
POSITIONS = ("after_norm", "before_norm", "input", "last_norm")


@pytest.mark.parametrize("pictures", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_at_the_old_parameters_is_the_steps_own(kind: str, pictures: bool) -> None:
    view = small_step(kind, Noise(on=True), pictures=pictures)
    loss, grads = view.gradient_at(view.before)
    assert loss.item() == view.loss
    assert grads.keys() == view.grads.keys()
    assert all(torch.equal(grads[name], view.grads[name]) for name in grads)


@pytest.mark.parametrize("amplitude", ["absolute", "relative"])
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_another_order_of_the_batch_changes_the_gradient_by_rounding_alone(
    kind: str, position: str, amplitude: str
) -> None:
    noise = Noise.model_validate({"on": True, "position": position, "amplitude": amplitude})
    view = small_step(kind, noise, samples=32)
    again = view.reordered_grads
    for name, g in view.grads.items():
        torch.testing.assert_close(again[name], g, rtol=1e-11, atol=1e-11)
    assert any(not torch.equal(again[name], g) for name, g in view.grads.items())


def test_population_statistics_are_those_before_the_step() -> None:
    view = small_step("batch_population")
    assert any(not torch.equal(b, view.buffers[name]) for name, b in view.net.named_buffers())
    assert view.loss_at(view.before).item() == view.loss


def test_missing_names_are_the_live_parameters() -> None:
    view = small_step()
    assert view.loss_at({}).item() == view.loss_at(view.after).item() != view.loss


@pytest.mark.parametrize("kind", ["batch", "batch_population"])
def test_looking_moves_nothing(kind: str) -> None:
    view = small_step(kind, Noise(on=True))
    before = frozen(view)
    view.gradient_at(view.before)
    _ = view.reordered_grads
    after = frozen(view)
    assert all(torch.equal(before[name], after[name]) for name in before)
