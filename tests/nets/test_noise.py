"""Algorithm 1 of Santurkar et al. (2018): its moments, its two levels, and its keys."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bncore.config.model import Noise, Norm
from bncore.nets import ForwardMode
from bncore.nets.noise import WORTH_A_THREAD, NoiseSource

from .factories import images, interleave, small_vgg

ON = Noise(on=True)
SAMPLES, UNITS, SIZE = 32, 40, 6
ACTIVATIONS = torch.zeros(SAMPLES, UNITS, SIZE, SIZE, dtype=torch.float64)


def draws(steps: int = 1, noise: Noise = ON) -> tuple[Tensor, Tensor]:
    """m and s of several steps, each [steps, units, values]."""
    source = NoiseSource(noise, seed=5, layer=1)
    kept = [tuple(d.clone() for d in source.draws(ACTIVATIONS, step)) for step in range(steps)]
    m, s = (torch.stack(parts).transpose(1, 2).flatten(2) for parts in zip(*kept, strict=True))
    return m, s


def test_within_a_unit_draws_are_uniform_and_normal_about_its_own_mean() -> None:
    m, s = draws()
    values = m.shape[2]
    around_mu = m - m.mean(2, keepdim=True)
    around_sigma = s - s.mean(2, keepdim=True)
    assert around_mu.abs().max() < 0.1 + 0.1 / values**0.5 * 5
    assert around_mu.abs().max() > 0.095
    assert m.std(2).mean() == pytest.approx(0.1 / 3**0.5, rel=0.02)
    assert s.std(2).mean() == pytest.approx(0.1, rel=0.02)
    kurtosis = (around_sigma**4).mean() / (around_sigma**2).mean() ** 2
    assert kurtosis == pytest.approx(3.0, abs=0.15)  # normal, where uniform has 1.8
    kurtosis = (around_mu**4).mean() / (around_mu**2).mean() ** 2
    assert kurtosis == pytest.approx(1.8, abs=0.05)


def test_across_units_and_steps_means_are_uniform_in_the_papers_ranges() -> None:
    m, s = draws(steps=30)
    mu, sigma = m.mean(2), s.mean(2)  # 1200 of each; their own error is 0.1 / sqrt(1152) = 0.003
    assert mu.abs().max() < 0.51
    assert mu.mean() == pytest.approx(0.0, abs=0.035)
    assert mu.std() == pytest.approx(1 / 12**0.5, rel=0.06)
    assert sigma.min() > 0.985
    assert sigma.max() < 1.265
    assert sigma.mean() == pytest.approx(1.125, abs=0.01)
    assert sigma.std() == pytest.approx(0.25 / 12**0.5, rel=0.06)


def test_units_and_steps_are_independent() -> None:
    m, s = draws(steps=30)
    for means in (m.mean(2), s.mean(2)):
        across_units = torch.corrcoef(means.T).fill_diagonal_(0)
        across_steps = torch.corrcoef(means).fill_diagonal_(0)
        assert across_units.abs().mean() < 0.2  # of 30 independent pairs: 0.15
        assert across_steps.abs().mean() < 0.18  # of 40: 0.13
    assert torch.corrcoef(torch.stack([m.mean(2).flatten(), s.mean(2).flatten()]))[0, 1].abs() < 0.1


def test_every_sample_and_position_has_its_own_draw() -> None:
    m, s = NoiseSource(ON, seed=5, layer=1).draws(ACTIVATIONS, 0)
    for drawn in (m, s):
        assert drawn.unique().numel() == drawn.numel()
        centered = drawn - drawn.mean((0, 2, 3), keepdim=True)
        by_sample = centered.transpose(0, 1).flatten(2)[:, :2]  # the first two samples of every unit
        shared = (by_sample[:, 0] * by_sample[:, 1]).mean() / centered.square().mean()
        assert shared.abs() < 0.1  # 1440 products: 0.026


def test_noise_is_scale_times_activation_plus_shift() -> None:
    source = NoiseSource(ON, seed=5, layer=1)
    a = images(4, channels=3, size=5).requires_grad_()
    m, s = source.draws(a, 7)
    noisy = source.apply(a, ForwardMode(noise_step=7))
    torch.testing.assert_close(noisy, s * a + m, rtol=1e-15, atol=1e-15)
    torch.testing.assert_close(torch.autograd.grad(noisy.sum(), a)[0], s.expand_as(a), rtol=0, atol=0)


def test_relative_amplitude_multiplies_the_shift_by_the_units_deviation() -> None:
    source = NoiseSource(ON.model_copy(update={"amplitude": "relative"}), seed=5, layer=1)
    a = images(8, channels=3, size=5).requires_grad_()
    m, s = source.draws(a, 7)
    deviation = a.detach().transpose(0, 1).flatten(1).std(1, correction=0).view(3, 1, 1)
    noisy = source.apply(a, ForwardMode(noise_step=7))
    torch.testing.assert_close(noisy, s * a + deviation * m)
    torch.testing.assert_close(torch.autograd.grad(noisy.sum(), a)[0], s.expand_as(a), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "shift_is", "scale_is"),
    [
        ({"n_mu": 0.0, "r_mu": 0.0}, 0.0, None),
        ({"n_sigma": 1.0, "r_sigma": 0.0}, None, 1.0),
    ],
)
def test_an_amplitude_of_zero_switches_its_part_off(
    change: dict[str, float], shift_is: float | None, scale_is: float | None
) -> None:
    m, s = draws(noise=ON.model_copy(update=change))
    assert shift_is is None or bool((m == shift_is).all())
    assert scale_is is None or bool((s == scale_is).all())


def test_draws_depend_on_the_key_alone() -> None:
    first = [d.clone() for d in NoiseSource(ON, seed=5, layer=1).draws(ACTIVATIONS, 3)]
    torch.manual_seed(99)
    used = NoiseSource(ON, seed=5, layer=1)
    used.draws(ACTIVATIONS[:7], 3)
    used.draws(ACTIVATIONS, 2)
    assert all(map(torch.equal, first, used.draws(ACTIVATIONS, 3)))
    for other in (NoiseSource(ON, seed=6, layer=1), NoiseSource(ON, seed=5, layer=2)):
        assert not any(map(torch.equal, first, other.draws(ACTIVATIONS, 3)))


def test_a_second_thread_changes_nothing() -> None:
    a = torch.zeros(8, 16, 32, 32)
    assert a.numel() >= WORTH_A_THREAD
    alone = [d.clone() for d in NoiseSource(ON, seed=5, layer=1).draws(a, 3)]
    torch.set_num_threads(2)
    assert all(map(torch.equal, alone, NoiseSource(ON, seed=5, layer=1).draws(a, 3)))


def test_the_same_key_is_not_drawn_twice_and_memory_is_reused() -> None:
    source = NoiseSource(ON, seed=5, layer=1)
    m, s = source.draws(ACTIVATIONS, 3)
    version, place = s._version, s.data_ptr()
    again = source.draws(ACTIVATIONS, 3)
    assert again[1]._version == version
    later = source.draws(ACTIVATIONS, 4)
    assert later[1].data_ptr() == place
    assert later[0].data_ptr() == m.data_ptr()


def test_two_passes_of_one_step_can_both_go_backward() -> None:
    source = NoiseSource(ON, seed=5, layer=1)
    a = images(4).requires_grad_()
    one, two = (source.apply(a, ForwardMode(noise_step=3)) for _ in range(2))
    assert all(map(torch.equal, torch.autograd.grad(one.sum(), a), torch.autograd.grad(two.sum(), a)))


def test_a_backward_pass_after_another_steps_draw_is_refused_not_wrong() -> None:
    source = NoiseSource(ON, seed=5, layer=1)
    a = images(4).requires_grad_()
    old = source.apply(a, ForwardMode(noise_step=3))
    source.apply(a, ForwardMode(noise_step=4))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        old.sum().backward()


def test_a_step_after_inference_mode_can_train() -> None:
    source = NoiseSource(ON.model_copy(update={"in_eval": True}), seed=5, layer=1)
    a = images(4).requires_grad_()
    with torch.inference_mode():
        source.apply(a.detach(), ForwardMode(training=False, noise_step=3))
    source.apply(a, ForwardMode(noise_step=3)).sum().backward()
    assert a.grad is not None


def test_channels_last_keeps_its_layout_and_its_moments() -> None:
    a = torch.ones(64, 8, 6, 6, dtype=torch.float64).to(memory_format=torch.channels_last)
    source = NoiseSource(ON, seed=5, layer=1)
    noisy = source.apply(a, ForwardMode(noise_step=0))
    assert noisy.is_contiguous(memory_format=torch.channels_last)
    m, s = source.draws(a, 0)
    torch.testing.assert_close(noisy, s + m)
    assert m.std((0, 2, 3)).mean() == pytest.approx(0.1 / 3**0.5, rel=0.05)
    assert s.std((0, 2, 3)).mean() == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("amplitude", ["absolute", "relative"])
def test_every_chain_meets_the_same_noise_as_alone(amplitude: str) -> None:
    source = NoiseSource(ON.model_copy(update={"amplitude": amplitude}), seed=5, layer=1)
    chains = [images(4, seed=s) * (s + 1) for s in range(3)]
    alone = interleave([source.apply(a, ForwardMode(noise_step=3)) for a in chains])
    assert torch.equal(source.apply(interleave(chains), ForwardMode(noise_step=3, chains=3)), alone)


@pytest.mark.parametrize(
    ("p", "in_eval", "noisy"),
    [
        (ForwardMode(noise_step=3), False, True),
        (ForwardMode(), False, False),
        (ForwardMode(training=False, noise_step=3), False, False),
        (ForwardMode(training=False, noise_step=3), True, True),
    ],
)
def test_when_noise_is_on(p: ForwardMode, in_eval: bool, noisy: bool) -> None:
    source = NoiseSource(ON.model_copy(update={"in_eval": in_eval}), seed=5, layer=1)
    a = images(4)
    assert (source.apply(a, p) is not a) == noisy


@pytest.mark.parametrize(
    ("position", "where"),
    [
        ("after_norm", [("noise_after_norm", i) for i in range(8)]),
        ("before_norm", [("noise_before_norm", i) for i in range(8)]),
        ("input", [("noise_input", 0)]),
        ("last_norm", [("noise_after_norm", 7)]),
    ],
)
def test_positions(position: str, where: list[tuple[str, int]]) -> None:
    net = small_vgg(noise=ON.model_copy(update={"position": position}))
    names = ("noise_input", "noise_before_norm", "noise_after_norm")
    found = [(n, i) for i, layer in enumerate(net.layers) for n in names if getattr(layer, n) is not None]
    assert found == where


@pytest.mark.parametrize("kind", ["none", "batch", "l1", "layer"])
def test_noise_comes_after_gamma_and_beta_and_before_the_activation(kind: str) -> None:
    net = small_vgg(Norm(kind=kind), ON)
    layer, x, p = net.layers[0], images(4), ForwardMode(noise_step=2)
    z = layer.norm(layer.map(x, layer.weight, p), p)
    m, s = layer.noise_after_norm.draws(z, 2)
    expected = torch.nn.functional.max_pool2d((s * z + m).relu(), 2)
    torch.testing.assert_close(layer(x, p), expected)


@pytest.mark.parametrize("kind", ["none", "batch", "l1", "layer"])
def test_noise_before_the_norm_comes_before_beta_too(kind: str) -> None:
    net = small_vgg(Norm(kind=kind), ON.model_copy(update={"position": "before_norm"}))
    layer, x, p = net.layers[0], images(4), ForwardMode(noise_step=2)
    torch.nn.init.normal_(layer.norm.bias, generator=torch.Generator().manual_seed(1))
    y = layer.map(x, layer.weight, p)
    m, s = layer.noise_before_norm.draws(y, 2)
    torch.testing.assert_close(layer(x, p), layer.activate(layer.norm(s * y + m, p)))


def test_input_noise_meets_the_images_alone() -> None:
    net = small_vgg(noise=ON.model_copy(update={"position": "input"}))
    x = images(4)
    m, s = net.layers[0].noise_input.draws(x, 2)
    torch.testing.assert_close(net(x, ForwardMode(noise_step=2)), net(s * x + m))


def test_toggling_noise_disturbs_nothing_else() -> None:
    x, quiet, noisy = images(4), small_vgg(), small_vgg(noise=ON)
    assert quiet.state_dict().keys() == noisy.state_dict().keys()
    global_state = torch.get_rng_state()
    disturbed = noisy(x, ForwardMode(noise_step=1))
    assert torch.equal(torch.get_rng_state(), global_state)
    assert not torch.equal(disturbed, quiet(x))
    noisy.set_noise(Noise())
    assert torch.equal(noisy(x, ForwardMode(noise_step=1)), quiet(x))
    noisy.set_noise(ON)
    assert torch.equal(noisy(x, ForwardMode(noise_step=1)), disturbed)
    assert all(torch.equal(a, b) for a, b in zip(quiet.buffers(), noisy.buffers(), strict=True))
