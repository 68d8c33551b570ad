"""Every norm equals its definition, in value and in gradient."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from bncore.config.model import Norm
from bncore.nets import ForwardMode, NormPosition
from bncore.nets.lp import LpSettings, lp_normalized, lp_scale

from .factories import BATCH_KINDS, NORM_KINDS, images, interleave, norm_position
from .oracles import batch_kind, sample_kind

TRAIN, TRACKED, EVALUATION = ForwardMode(), ForwardMode(track=True), ForwardMode(training=False)
# Both sides round in float64 and differ by the order of summation and powers only.
TIGHT = {"rtol": 1e-9, "atol": 1e-11}


def gradients(z: Tensor, *wanted: Tensor) -> tuple[Tensor, ...]:
    # A weighted cubic: linear in nothing, so that no part of the gradient cancels.
    weights = torch.linspace(-1, 2, z.numel(), dtype=z.dtype).view(z.shape)
    return torch.autograd.grad((z**3 * weights).sum(), wanted)


@pytest.mark.parametrize("shape", [(4, 3, 5, 5), (9, 4)])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("kind", BATCH_KINDS)
def test_batch_kinds_equal_their_definition(kind: str, centered: bool, shape: tuple[int, ...]) -> None:
    norm = norm_position(Norm(kind=kind, centred=centered), shape[1], positions=len(shape) == 4)
    y = images(shape[0], channels=shape[1], size=5)
    y = (y if len(shape) == 4 else y[:, :, 0, 0].contiguous()).requires_grad_()
    ours = norm(y, TRAIN)
    dumb = batch_kind(kind, y, norm.weight, norm.bias, norm.setting.eps, centered=centered)
    torch.testing.assert_close(ours, dumb, **TIGHT)
    wanted = (y, norm.weight, norm.bias)
    for one, other in zip(gradients(ours, *wanted), gradients(dumb, *wanted), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("kind", "groups"), [("layer", 1), ("group", 3), ("instance", 6)])
def test_sample_kinds_equal_their_definition(kind: str, groups: int) -> None:
    norm = norm_position(Norm(kind=kind, groups=3), 6)
    y = images(4, channels=6, size=3).requires_grad_()
    ours = norm(y, TRAIN)
    dumb = sample_kind(y, norm.weight, norm.bias, norm.setting.eps, groups)
    torch.testing.assert_close(ours, dumb, **TIGHT)
    torch.testing.assert_close(gradients(ours, y)[0], gradients(dumb, y)[0], rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(norm(y, EVALUATION), ours, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("positions", "reference"), [(True, nn.BatchNorm2d(3)), (False, nn.BatchNorm1d(3))])
def test_batch_is_torch_batchnorm_bit_for_bit(
    positions: bool, reference: nn.Module, dtype: torch.dtype
) -> None:
    reference = copy.deepcopy(reference).to(dtype)
    norm = NormPosition(3, positions=positions, setting=Norm(), dtype=dtype)
    for step in range(5):
        y = images(4, size=6, seed=step).to(dtype)
        y = (y if positions else y[:, :, 0, 0]).contiguous().requires_grad_()
        ours, theirs = norm(y, TRACKED), reference.train()(y)
        assert torch.equal(ours, theirs)
        assert torch.equal(gradients(ours, y)[0], gradients(theirs, y)[0])
        assert torch.equal(norm.running_mean, reference.running_mean)
        assert torch.equal(norm.running_var, reference.running_var)
        assert torch.equal(norm(y, EVALUATION), reference.eval()(y))


@pytest.mark.parametrize("kind", NORM_KINDS)
def test_an_untracked_pass_leaves_the_module_as_it_was(kind: str) -> None:
    norm = norm_position(Norm(kind=kind), 3)
    norm(images(2, size=4), TRACKED)
    before = copy.deepcopy(norm.state_dict())
    for p in (TRAIN, EVALUATION, ForwardMode(chains=2)):
        norm(images(4, size=4, seed=1), p).sum().backward()
    assert all(torch.equal(before[name], value) for name, value in norm.state_dict().items())


@pytest.mark.parametrize("kind", NORM_KINDS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_chains_are_normalised_as_if_alone(kind: str, layout: torch.memory_format) -> None:
    norm = norm_position(Norm(kind=kind), 4)
    chains = [images(3, channels=4, size=5, seed=s) * (s + 1) for s in range(3)]
    stacked = interleave(chains).to(memory_format=layout)
    alone = interleave([norm(y, TRAIN) for y in chains])
    together = norm(stacked, ForwardMode(chains=3))
    torch.testing.assert_close(together, alone, **TIGHT)
    assert together.is_contiguous(memory_format=layout)  # noise is drawn for a layout


@pytest.mark.parametrize("kind", NORM_KINDS)
def test_channels_last_gives_the_same_and_keeps_its_layout(kind: str) -> None:
    norm = norm_position(Norm(kind=kind), 4)
    y = images(3, channels=4, size=5)
    z = norm(y.to(memory_format=torch.channels_last), TRAIN)
    torch.testing.assert_close(z, norm(y, TRAIN), **TIGHT)
    assert z.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("kind", ["batch", "batch_detached", "l1", "l2", "lp:3", "linf"])
def test_evaluation_after_tracking_one_batch_alone_repeats_it(kind: str) -> None:
    """With momentum 1 the running statistics are the last batch's, so evaluation repeats training, up to
    the unbiased variance that batch norm tracks."""
    norm = norm_position(Norm(kind=kind, momentum=1.0), 3)
    y = images(40, size=20)
    trained, evaluated = norm(y, TRACKED), norm(y, EVALUATION)
    torch.testing.assert_close(evaluated, trained, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["batch", "batch_detached", "batch_population", "variance_only"])
def test_kinds_with_a_variance_track_the_unbiased_one_as_torch_does(kind: str) -> None:
    norm = norm_position(Norm(kind=kind), 3)
    y = images(2, size=2)  # 8 values a channel: the two estimates differ by 14 %
    norm(y, TRACKED)
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * y.var((0, 2, 3), correction=1), **TIGHT)


def test_population_norm_uses_the_statistics_before_the_batch_then_tracks_it() -> None:
    norm = norm_position(Norm(kind="batch_population"), 3)
    y = images(4, size=4).requires_grad_()
    as_evaluated = norm(y, EVALUATION)
    z = norm(y, TRACKED)
    assert torch.equal(z, as_evaluated)
    z.sum().backward()
    torch.testing.assert_close(norm.running_mean, 0.1 * y.detach().mean((0, 2, 3)), **TIGHT)
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * y.detach().var((0, 2, 3)), **TIGHT)


def test_l2_is_batch_for_zero_mean_inputs_and_only_then() -> None:
    l2, batch = (norm_position(Norm(kind=k), 3) for k in ("l2", "batch"))
    y = images(6, size=4)
    centered = y - y.mean((0, 2, 3), keepdim=True)
    torch.testing.assert_close(l2(centered, TRAIN), batch(centered, TRAIN), **TIGHT)
    assert (l2(y, TRAIN) - batch(y, TRAIN)).abs().max() > 1e-3


def test_none_adds_beta_and_gives_gamma_no_gradient() -> None:
    norm = norm_position(Norm(kind="none"), 3)
    y = images(2, size=4)
    z = norm(y, TRACKED)
    torch.testing.assert_close(z, y + norm.bias.view(3, 1, 1), rtol=0, atol=0)
    z.sum().backward()
    assert norm.weight.grad is None
    assert norm.bias.grad is not None


@pytest.mark.parametrize("setting", [Norm(kind="none", bias=False), Norm(kind="none", affine="frozen")])
def test_none_without_bias_is_the_identity(setting: Norm) -> None:
    y = images(2, size=4)
    assert norm_position(setting, 3)(y, TRAIN) is y


@pytest.mark.parametrize("kind", [k for k in NORM_KINDS if k != "none"])
def test_frozen_gamma_and_beta_stand_for_one_and_zero_without_gradient(kind: str) -> None:
    frozen = norm_position(Norm(kind=kind, affine="frozen"), 4)
    plain = NormPosition(4, positions=True, setting=Norm(kind=kind), dtype=torch.float64)
    y = images(3, channels=4, size=4).requires_grad_()
    z = frozen(y, TRAIN)
    torch.testing.assert_close(z, plain(y, TRAIN), **TIGHT)
    z.sum().backward()
    assert frozen.weight.grad is None
    assert frozen.bias.grad is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", [k for k in NORM_KINDS if k != "instance"])
def test_gradients_are_finite_at_zero(kind: str, dtype: torch.dtype) -> None:
    norm = NormPosition(4, positions=False, setting=Norm(kind=kind, groups=2), dtype=dtype)
    y = torch.zeros(5, 4, dtype=dtype, requires_grad=True)
    z = norm(y, TRAIN)
    z.square().sum().backward()
    assert z.isfinite().all()
    assert y.grad is not None
    assert y.grad.isfinite().all()


@pytest.mark.parametrize("magnitude", [1e-30, 1e-12, 1.0, 1e12, 1e30])
@pytest.mark.parametrize("p", [3.0, 8.0, 100.0, 1000.0])
def test_lp_scale_neither_overflows_nor_vanishes_in_float32(p: float, magnitude: float) -> None:
    y = (torch.tensor([[1.0], [0.5], [-0.25], [0.0]]) * magnitude).requires_grad_()
    scale = lp_scale(y, p, 1e-5)
    # log-sum-exp of the two parts of the definition, in float64
    logs = y.detach().double().abs().log() * p
    exact = torch.logaddexp(torch.logsumexp(logs, 0) - torch.log(torch.tensor(4.0)), torch.tensor(1e-5).log())
    torch.testing.assert_close(scale.double(), (exact / p).exp(), rtol=1e-5, atol=0)
    (gradient,) = torch.autograd.grad(scale.sum(), y)
    assert gradient.isfinite().all()
    assert gradient.abs().max() <= 1.0  # the scale is 1-Lipschitz in the largest value


@given(
    p=st.one_of(st.floats(1.0, 30.0), st.just(float("inf"))),
    values=st.lists(st.floats(-100, 100), min_size=2, max_size=12),
    factor=st.floats(0.1, 10.0),
)
def test_lp_scale_is_homogeneous_and_between_mean_and_maximum(
    p: float, values: list[float], factor: float
) -> None:
    y = torch.tensor(values, dtype=torch.float64).view(-1, 1)
    scale = lp_scale(y, p, 1e-200)
    torch.testing.assert_close(lp_scale(factor * y, p, 1e-200), factor * scale, rtol=1e-9, atol=1e-5)
    slack = 1e-9 * y.abs().max() + 1e-5
    assert y.abs().mean() - slack <= scale <= y.abs().max() + slack


VALUES = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 1e-7]) | st.floats(-3, 3, width=32)


@given(
    p=st.sampled_from([1.0, 2.0, 3.0, 1.5, 7.0, float("inf")]) | st.floats(1.0, 20.0),
    centered=st.booleans(),
    eps=st.sampled_from([1e-5, 1e-2, 4.0]),  # the last one is above every value
    rows=st.lists(st.tuples(VALUES, VALUES, st.just(0.0)), min_size=2, max_size=8),
    affine=st.booleans(),
)
def test_the_written_out_gradient_of_lp_is_that_of_autograd(
    p: float, centered: bool, eps: float, rows: list[tuple[float, ...]], affine: bool
) -> None:
    """Equal maxima, zeros, channels without values and scales set by eps included."""
    y = torch.tensor(rows, dtype=torch.float64).requires_grad_()
    gamma = torch.tensor([0.5, -2.0, 1.0], dtype=torch.float64).requires_grad_()
    beta = torch.tensor([0.0, 1.0, 0.3], dtype=torch.float64).requires_grad_()
    given_affine = (gamma, beta) if affine else (None, None)
    z, mean, scale = lp_normalized(y, *given_affine, LpSettings(p, eps, centered))
    same_mean = y.mean(0)
    same_scale = lp_scale(y - same_mean if centered else y, p, eps)
    factor = (gamma if affine else 1.0) / same_scale
    same = (y - same_mean) * factor + (beta if affine else 0.0)
    torch.testing.assert_close(z, same, **TIGHT)
    assert torch.equal(mean, same_mean)
    assert torch.equal(scale, same_scale)
    assert not (mean.requires_grad or scale.requires_grad)
    wanted = (y, gamma, beta) if affine else (y,)
    size = float((1 / scale.detach()).max()) ** 2
    for one, other in zip(gradients(z, *wanted), gradients(same, *wanted), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-11 * max(1.0, size))


@pytest.mark.parametrize("kind", ["l1", "l2", "linf", "lp:3"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_what_lp_keeps_for_its_gradient_is_y_and_numbers_per_channel(
    kind: str, layout: torch.memory_format
) -> None:
    norm = norm_position(Norm(kind=kind), 4)
    y = images(3, channels=4, size=5).to(memory_format=layout).requires_grad_()
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        z = norm(y, TRAIN)
    large = [tensor for tensor in kept if tensor.numel() > 4]
    assert [tensor.data_ptr() for tensor in large] == [y.data_ptr()]
    (gradient,) = gradients(z, y)
    assert gradient.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("kind", ["l1", "l2", "linf", "lp:3"])
@pytest.mark.parametrize("left_out", ["y", "gamma", "beta"])
def test_lp_gives_the_gradients_that_are_asked_for_alone(kind: str, left_out: str) -> None:
    norm = norm_position(Norm(kind=kind), 3)
    tensors = {"y": images(4, size=4).requires_grad_(), "gamma": norm.weight, "beta": norm.bias}
    want = {name: tensor for name, tensor in tensors.items() if name != left_out}
    whole = gradients(norm(tensors["y"], TRAIN), *tensors.values())
    tensors[left_out] = tensors[left_out].detach()
    z = norm.normalize(*tensors.values(), TRAIN)
    expected = dict(zip(tensors, whole, strict=True))
    for name, gradient in zip(want, gradients(z, *want.values()), strict=True):
        assert torch.equal(gradient, expected[name])


@pytest.mark.parametrize("kind", [k for k in BATCH_KINDS if k != "batch_detached"])
def test_second_derivatives_exist(kind: str) -> None:
    """Hessian-vector products go through every norm (the ablation without gradient has no true Hessian)."""
    norm = norm_position(Norm(kind=kind), 2)
    y = images(2, channels=2, size=2, seed=3).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda v: norm(v, TRAIN), (y,))
    inputs = (y, norm.weight.detach().requires_grad_(), norm.bias.detach().requires_grad_())
    assert torch.autograd.gradgradcheck(lambda *t: norm.normalize(*t, TRAIN), inputs)


@pytest.mark.parametrize(
    ("setting", "channels", "message"),
    [
        (Norm(kind="instance"), 8, "norm.kind: 'instance'"),
        (Norm(kind="group", groups=8), 8, "norm.groups: 8; expected fewer than the 8 features"),
    ],
)
def test_a_norm_over_single_values_is_refused(setting: Norm, channels: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        norm_position(setting, channels, positions=False)


def test_group_takes_the_largest_divisor() -> None:
    assert norm_position(Norm(kind="group", groups=8), 12).groups == 6
    assert norm_position(Norm(kind="group", groups=8), 7).groups == 7
    assert norm_position(Norm(kind="group", groups=8), 64).groups == 8


@pytest.mark.parametrize(
    "kind", ["l1", "l2", "linf", "lp:3", "variance_only", "batch_detached", "batch_population"]
)
@pytest.mark.parametrize("momentum", [0.1, 0.7])
def test_an_activation_that_overflows_leaves_what_torch_s_batchnorm_keeps(kind: str, momentum: float) -> None:
    """An infinite variance and a finite mean, never NaN; and evaluation is what it is there."""
    norm = NormPosition(3, positions=False, setting=Norm(kind=kind, momentum=momentum), dtype=torch.float32)
    torch_s = nn.BatchNorm1d(3, momentum=momentum)
    batches = [images(8, size=1, seed=seed)[:, :, 0, 0].float() for seed in range(4)]
    batches[1] = batches[1] * 1e25
    for y in batches:
        norm(y, TRACKED)
        torch_s(y)
    assert torch.equal(norm.running_var, torch_s.running_var)  # type: ignore[arg-type]
    assert norm.running_var.isinf().all()
    if kind != "variance_only":
        torch.testing.assert_close(norm.running_mean, torch_s.running_mean)
    if kind != "batch_population":
        assert norm(batches[0], EVALUATION).isfinite().all()


@pytest.mark.parametrize("kind", ["l2", "variance_only", "batch_detached", "batch_population"])
def test_statistics_that_stay_finite_are_lerp_s_to_the_bit(kind: str) -> None:
    norm = NormPosition(3, positions=False, setting=Norm(kind=kind), dtype=torch.float32)
    expected = norm.running_var.clone()
    for seed in range(4):
        y = images(8, size=1, seed=seed)[:, :, 0, 0].float()
        single = NormPosition(3, positions=False, setting=Norm(kind=kind, momentum=1.0), dtype=torch.float32)
        single(y, TRACKED)
        norm(y, TRACKED)
        expected.lerp_(single.running_var, 0.1)
        assert torch.equal(norm.running_var, expected)
