"""Internal covariate shift is Def. 2.1, whatever the norm, the noise and the way it is evaluated."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from oracles import ics as oracle
from oracles.examples import normal
from oracles.network import loss_of
from oracles.objective import cross_entropy, half_sum

from bncore.config.model import Noise
from bncore.config.probes import Ics
from bncore.nets import norm
from bncore.nets.normalize import NORMS, PER_CHANNEL, WITHOUT_STATISTICS
from bncore.probes import functional
from bncore.probes.growing import growing_batch
from bncore.probes.ics import IcsProbe, layerwise_gradients, rescaled_update
from bncore.probes.view import StepView

from .step import plain_layers, small_step

KINDS = (
    "none", "batch", "l1", "l2", "linf", "lp:3", "layer", "group", "mean_only", "variance_only",
    "batch_detached", "batch_population", "weight",
)  # fmt: skip
NOISES = [
    None,
    *(
        Noise.model_validate({"on": True, "position": p})
        for p in ("after_norm", "before_norm", "input", "last_norm")
    ),
    Noise(on=True, amplitude="relative"),
]
ALL = IcsProbe(Ics(floor_every=0))


def by_definition(view: StepView, pictures: bool = False, weight_decay: float = 0.0) -> list[oracle.Shift]:
    old, new = plain_layers(view), plain_layers(replace(view, before=view.after))
    loss = cross_entropy if pictures else half_sum
    return oracle.ics(old, new, view.inputs, view.targets, loss, weight_decay=weight_decay)


@pytest.mark.parametrize("noise", [None, Noise(on=True)])
@pytest.mark.parametrize("pictures", [False, True])
@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("batch_population", "batch_detached")])
def test_every_number_is_the_definitions(kind: str, pictures: bool, noise: Noise | None) -> None:
    view = small_step(kind, noise, pictures=pictures)
    found, expected = ALL.measure(view), by_definition(view, pictures)
    for name in ("l2", "cosine", "relative"):
        np.testing.assert_allclose(
            found[name][1:], [getattr(e, name) for e in expected[1:]], rtol=1e-9, atol=1e-11
        )
    np.testing.assert_allclose(found["one_minus_cosine"], 1 - found["cosine"], atol=1e-15)


@pytest.mark.parametrize("group", [0, 1, 2])
@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("pictures", [False, True])
@pytest.mark.parametrize("kind", [*KINDS, "instance"])
def test_a_growing_batch_gives_every_layers_own_gradient(
    kind: str, pictures: bool, noise: Noise | None, group: int
) -> None:
    if kind == "instance" and not pictures:
        return  # a linear layer has nothing to normalize over
    view = small_step(kind, noise, pictures=pictures)
    layers = range(len(view.net.layers))
    for fast, plain in zip(
        growing_batch(view, view.after, layers, group=group),
        layerwise_gradients(view, view.after, layers),
        strict=True,
    ):
        torch.testing.assert_close(fast, plain, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("pictures", [False, True])
@pytest.mark.parametrize("kind", [*KINDS, "instance"])
def test_so_it_does_for_a_norm_of_which_nothing_is_known(
    monkeypatch: pytest.MonkeyPatch, kind: str, pictures: bool
) -> None:
    """As one that somebody has just added: whether it is per sample or per channel, nobody has said."""
    if kind == "instance" and not pictures:
        return
    monkeypatch.setattr(norm, "WITHOUT_STATISTICS", frozenset())
    monkeypatch.setattr(norm, "PER_CHANNEL", frozenset())
    monkeypatch.setattr(functional, "OF_THE_BATCH_ALONE", frozenset())
    view = small_step(kind, NOISES[1], pictures=pictures)
    layers = range(len(view.net.layers))
    for fast, plain in zip(
        growing_batch(view, view.after, layers), layerwise_gradients(view, view.after, layers), strict=True
    ):
        torch.testing.assert_close(fast, plain, rtol=1e-11, atol=1e-12)


def test_of_the_norms_here_it_is_known() -> None:
    assert set(NORMS) == WITHOUT_STATISTICS | PER_CHANNEL
    assert not WITHOUT_STATISTICS & PER_CHANNEL


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_precedes_layer_1_so_its_gradient_is_the_old_one(kind: str) -> None:
    view = small_step(kind, Noise(on=True))
    (computed,) = growing_batch(view, view.after, [0])
    torch.testing.assert_close(computed, view.grads["layers.0.weight"], rtol=1e-12, atol=1e-13)
    found = ALL.measure(view)
    assert (found["l2"][0], found["cosine"][0], found["relative"][0]) == (0.0, 1.0, 0.0)


def test_the_prefix_is_what_the_optimizer_made_not_a_step_along_the_gradient() -> None:
    view = small_step()
    with torch.no_grad():
        view.net.layers[0].weight.add_(0.5)  # as momentum, Adam or weight decay would
    assert view.net.layers[0].norm is not None
    expected = by_definition(view)
    np.testing.assert_allclose(ALL.measure(view)["l2"][1:], [e.l2 for e in expected[1:]], rtol=1e-9)


def test_the_prefix_brings_its_own_gamma_and_beta() -> None:
    view = small_step()
    with torch.no_grad():
        view.net.layers[0].norm.weight.mul_(1.3)  # type: ignore[union-attr]
        view.net.layers[0].norm.bias.add_(0.4)  # type: ignore[union-attr]
    expected = by_definition(view)
    np.testing.assert_allclose(ALL.measure(view)["l2"][1:], [e.l2 for e in expected[1:]], rtol=1e-9)


def test_chosen_layers_are_measured_as_among_all() -> None:
    view = small_step()
    whole = ALL.measure(view)
    some = IcsProbe(Ics(layers=(3, 1), floor_every=0)).measure(view)
    assert some["layers"] == [1, 3]
    np.testing.assert_allclose(some["l2"], whole["l2"][[0, 2]], rtol=1e-12)


def test_a_layer_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"probes\.ics\.layers: 9; expected numbers from 1 to 3"):
        IcsProbe(Ics(layers=(1, 9), floor_every=0)).measure(small_step())


@pytest.mark.parametrize("decay", ["all", "weights"])
def test_the_penalty_joins_both_gradients(decay: str) -> None:
    """Those of weights, which decay either way."""
    view = replace(small_step(), weight_decay=0.3, decay=decay)
    found = IcsProbe(Ics(floor_every=0, penalty=True)).measure(view)
    expected = by_definition(view, weight_decay=0.3)
    for name in ("l2", "cosine", "relative"):
        np.testing.assert_allclose(found[name][1:], [getattr(e, name) for e in expected[1:]], rtol=1e-9)


@pytest.mark.parametrize("relative", [1e-3, 0.2])
def test_the_control_moves_every_preceding_weight_by_the_same_relative_length(relative: float) -> None:
    view = small_step()
    old, new = plain_layers(view), plain_layers(replace(view, before=view.after))
    moved = oracle.rescaled_prefix(old, new, relative)
    expected = oracle.ics(old, moved, view.inputs, view.targets, half_sum)
    found = IcsProbe(Ics(floor_every=0, rescale=relative)).measure(view)
    np.testing.assert_allclose(found["l2"][1:], [e.l2 for e in expected[1:]], rtol=1e-8)


def test_a_weight_that_was_not_moved_is_left_by_the_control() -> None:
    view = small_step()
    with torch.no_grad():
        view.net.layers[0].weight.copy_(view.before["layers.0.weight"])
    again = replace(view)  # its `after` is not cached yet
    assert torch.equal(rescaled_update(again, 0.1)["layers.0.weight"], view.before["layers.0.weight"])


def test_the_floor_is_measured_on_every_tenth_probe_and_absent_otherwise() -> None:
    probe = IcsProbe(Ics())
    view = small_step(samples=64)
    found = [probe.measure(view) for _ in range(11)]
    assert ["floor" in f for f in found] == [True, *[False] * 9, True]
    assert (found[0]["floor"] < 1e-12).all() and (found[0]["floor"] > 0).any()


def test_the_floor_goes_on_where_a_checkpoint_left_it() -> None:
    first = IcsProbe(Ics(floor_every=2))
    view = small_step()
    first.measure(view)
    second = IcsProbe(Ics(floor_every=2))
    second.load_state_dict(first.state_dict())
    assert "floor" not in second.measure(view) and "floor" in second.measure(view)


def test_what_no_shift_would_read_lies_at_the_floor() -> None:
    view = small_step(samples=64)
    unmoved = growing_batch(view, view.before, range(3), group=0)
    floor = IcsProbe(Ics(floor_every=1)).measure(view)["floor"]
    for i, g in enumerate(unmoved):
        assert (g - view.grads[f"layers.{i}.weight"]).norm() <= 10 * floor.max() + 1e-14


def test_a_dead_layer_has_no_cosine_and_spoils_no_other() -> None:
    view = small_step("none")
    dead = {**view.before, "layers.0.norm.bias": torch.full((4,), -1e6, dtype=torch.float64)}
    grads = view.gradient_at(dead)[1]
    found = ALL.measure(replace(view, before=dead, grads=grads))
    assert math.isnan(found["cosine"][1])
    assert np.isfinite(found["cosine"][2])


def test_a_gradient_that_is_not_finite_is_an_error() -> None:
    view = small_step()
    with torch.no_grad():
        view.net.layers[0].weight.fill_(float("nan"))
    with pytest.raises(ArithmeticError, match="a gradient is not finite"):
        ALL.measure(view)


def test_numbers_come_in_the_runs_own_precision() -> None:
    found = ALL.measure(small_step())
    assert found["l2"].dtype == np.float64
    assert isinstance(found["layers"], list)


# Mistakes of others (docs/explanation/paper.md, section 5): each would be noticed by the tests above.


def test_evaluation_statistics_in_the_second_gradient_would_be_noticed() -> None:
    view = small_step()
    right = by_definition(view)[1].l2
    mixed = {
        name: (view.after if name.startswith("layers.0.") else view.before)[name] for name in view.before
    }
    leaf = mixed["layers.1.weight"].detach().requires_grad_()
    outputs = torch.func.functional_call(
        view.net,
        {**view.buffers, **mixed, "layers.1.weight": leaf},
        (view.inputs, replace(view.how, training=False)),
    )
    (wrong,) = torch.autograd.grad(view.criterion(outputs, view.targets), leaf)
    assert (wrong - view.grads["layers.1.weight"]).norm().item() != pytest.approx(right, rel=0.01)


def test_a_state_dict_that_aliases_the_live_weights_would_be_noticed() -> None:
    view = small_step()
    aliased = replace(view, before={**view.net.state_dict()})
    assert by_definition(view)[1].l2 > 1e-3
    assert ALL.measure(aliased)["l2"][1] != pytest.approx(by_definition(view)[1].l2, rel=0.01)


def test_another_noise_draw_would_be_noticed() -> None:
    view = small_step("batch", Noise(on=True))
    other = replace(view, step=view.step + 1)
    assert ALL.measure(other)["l2"][1] != pytest.approx(by_definition(view)[1].l2, rel=0.01)


def test_noise_without_its_per_sample_part_would_be_noticed() -> None:
    view = small_step("batch", Noise(on=True))
    flat = [
        replace(
            layer,
            noise=layer.noise
            and replace(
                layer.noise, m=layer.noise.m.mean(0).expand(6, -1), s=layer.noise.s.mean(0).expand(6, -1)
            ),
        )
        for layer in plain_layers(view)
    ]
    assert loss_of(flat, view.inputs, view.targets, half_sum).item() != pytest.approx(view.loss, rel=1e-3)


def test_tf32_would_be_noticed() -> None:
    """Ten bits of mantissa in the products leave errors above the shift of a small step."""

    def tf32(t: torch.Tensor) -> torch.Tensor:
        return ((t.float().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32).to(t.dtype)

    w, x = normal(4, 4, seed=1), normal(6, 4, seed=2)
    exact = x @ w.T
    rounded = tf32(x) @ tf32(w).T
    moved = x @ (w + 1e-5 * normal(4, 4, seed=3)).T
    assert (rounded - exact).norm() > 10 * (moved - exact).norm()
