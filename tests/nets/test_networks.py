"""Networks: their shapes, their initial weights, and a layer as a function of its parameters."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from bncore.config.model import DLN, MLP, VGG, Init, Noise, Norm, Spec
from bncore.nets import ForwardMode, LayeredNet, NormPosition, build
from bncore.nets.layer import Layer

from .factories import IMAGE, NORM_KINDS, images, interleave, small_net, small_vgg


def shapes(net: LayeredNet) -> list[tuple[int, ...]]:
    return [tuple(layer.weight.shape) for layer in net.layers]


@pytest.mark.parametrize(
    ("kind", "convolutions"), [("vgg11", 8), ("vgg13", 10), ("vgg16", 13), ("vgg19", 16)]
)
def test_vgg_has_the_papers_convolutions_and_one_linear_head(kind: str, convolutions: int) -> None:
    net = build(Spec(net=VGG(kind=kind, width=0.125)), inputs=IMAGE, outputs=10)
    assert [len(s) for s in shapes(net)] == [4] * convolutions + [2]
    assert shapes(net)[-1] == (10, 64)
    assert sum(layer.pool for layer in net.layers) == 5
    assert net(images(2).float()).shape == (2, 10)


def test_full_vgg16_has_torchvisions_convolutions() -> None:
    from torchvision.models import vgg16  # noqa: PLC0415  it takes a second to import

    with torch.device("meta"):
        theirs = [tuple(m.weight.shape) for m in vgg16().features if isinstance(m, nn.Conv2d)]
    net = build(Spec(net=VGG(kind="vgg16")), inputs=IMAGE, outputs=10)
    assert shapes(net) == [*theirs, (10, 512)]


def test_vgg_head_widths_follow_the_multiplier() -> None:
    net = build(Spec(net=VGG(kind="vgg11", width=0.25, head=(512, 256))), inputs=IMAGE, outputs=10)
    assert shapes(net)[-3:] == [(128, 128), (64, 128), (10, 64)]
    assert [layer.norm is None for layer in net.layers] == [False] * 10 + [True]


def test_a_tiny_multiplier_leaves_at_least_one_channel() -> None:
    assert shapes(build(Spec(net=VGG(width=1e-6)), inputs=IMAGE, outputs=10))[-2] == (1, 1, 3, 3)


@pytest.mark.parametrize("inputs", [(3, 16, 16), (3, 64, 64), (3, 32, 31), (3072,)])
def test_vgg_refuses_other_image_sizes(inputs: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"inputs: .*expected \(channels, 32, 32\)"):
        build(Spec(net=VGG(kind="vgg11", width=0.1)), inputs=inputs, outputs=10)


def test_a_batch_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"inputs: samples of shape \(5,\); expected \(6,\)"):
        small_net(DLN(kind="dln", depth=2))(torch.zeros(3, 5, dtype=torch.float64))


@pytest.mark.parametrize("normalise_last", [False, True])
def test_dln_is_a_product_of_its_matrices_without_norm(normalise_last: bool) -> None:
    net = small_net(
        DLN(kind="dln", depth=5, width=7, normalise_last=normalise_last), Norm(kind="none", bias=False)
    )
    assert shapes(net) == [(7, 6), (7, 7), (7, 7), (7, 7), (4, 7)]
    assert len(net.norms) == 4 + normalise_last
    x = torch.randn(9, 6, dtype=torch.float64)
    product = x
    for layer in net.layers:
        product = product @ layer.weight.T
    torch.testing.assert_close(net(x), product)
    assert all(layer.bias is None for layer in net.layers)


def test_dln_of_depth_one_is_one_matrix() -> None:
    assert shapes(small_net(DLN(kind="dln", depth=1))) == [(4, 6)]


def test_mlp_flattens_images_and_has_a_biased_head() -> None:
    net = build(Spec(net=MLP(kind="mlp", hidden=(20, 12))), inputs=(3, 4, 4), outputs=10)
    assert shapes(net) == [(20, 48), (12, 20), (10, 12)]
    assert net(torch.randn(5, 3, 4, 4)).shape == (5, 10)
    assert net.layers[-1].bias is not None
    assert net.layers[0].bias is None


def test_vgg_with_batch_norm_is_the_sequential_one_writes_by_hand() -> None:
    net = small_vgg()
    modules: list[nn.Module] = []
    for layer in net.layers[:-1]:
        out, fan_in = layer.weight.shape[:2]
        modules += [nn.Conv2d(fan_in, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
        modules += [nn.MaxPool2d(2)] if layer.pool else []
    hand = nn.Sequential(*modules, nn.Flatten(), nn.Linear(32, 10)).double()
    with torch.no_grad():
        for ours, theirs in zip(net.parameters(), hand.parameters(), strict=True):
            theirs.copy_(ours)
    x = images(4)
    one, other = net(x, ForwardMode(track=True)), hand(x)
    assert torch.equal(one, other)
    one.square().sum().backward()
    other.square().sum().backward()
    for ours, theirs in zip(net.parameters(), hand.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)
    assert torch.equal(net(x, ForwardMode(training=False)), hand.eval()(x))


@pytest.mark.parametrize(
    ("init", "variance"),
    [
        (Init(scheme="glorot"), 2 / (400 + 600)),
        (Init(scheme="glorot", distribution="normal"), 2 / (400 + 600)),
        (Init(scheme="he"), 2 / 400),
        (Init(scheme="he", distribution="normal"), 2 / 400),
    ],
)
def test_initial_weights_have_the_schemes_variance_and_distribution(init: Init, variance: float) -> None:
    net = build(Spec(net=MLP(kind="mlp", hidden=(600,)), init=init), inputs=(400,), outputs=2)
    weight = net.layers[0].weight.detach()
    assert weight.mean() == pytest.approx(0.0, abs=5 * math.sqrt(variance / weight.numel()))
    assert weight.var() == pytest.approx(variance, rel=0.02)
    bounded = weight.abs().max() <= math.sqrt(3 * variance) * 1.0001
    assert bounded == (init.distribution == "uniform")


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_by_fan_out_convolutions_are_normal_and_linear_maps_uniform_by_fan_in(distribution: str) -> None:
    """Whatever `distribution` says: variance 2 / (9 out), and bounds +-sqrt(3 / in) that a tail would cross."""
    init = Init.model_validate({"scheme": "he_fan_out", "distribution": distribution})
    net = build(Spec(net=VGG(kind="vgg11", width=0.5, head=(400,)), init=init), inputs=IMAGE, outputs=10)
    maps = [layer.weight.detach().double() for layer in net.layers]
    convolutions, (hidden, head) = maps[1:8], maps[8:]  # the first one's 864 entries say little of a variance
    for weight in convolutions:
        out, variance = weight.shape[0], weight.var().item()
        assert variance == pytest.approx(2 / (9 * out), rel=0.03)
        kurtosis = ((weight - weight.mean()) ** 4).mean().item() / variance**2
        assert kurtosis == pytest.approx(3, abs=0.15)  # a uniform's is 1.8
    assert maps[1].shape[:2] == (64, 32)  # fan-in is another number here
    for weight, variance in ((hidden, 1 / 256), (head, 1 / 200)):
        assert weight.var().item() == pytest.approx(variance, rel=0.06)
        assert 0.97 * math.sqrt(3 * variance) < weight.abs().max() <= math.sqrt(3 * variance) * 1.0001


def test_orthogonal_weights_are_orthogonal() -> None:
    spec = Spec(net=VGG(kind="vgg11", width=0.1), init=Init(scheme="orthogonal"), precision="float64")
    for layer in build(spec, inputs=IMAGE, outputs=10).layers:
        matrix = layer.weight.detach().flatten(1)
        gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
        torch.testing.assert_close(gram, torch.eye(len(gram), dtype=torch.float64))


def test_gamma_is_one_and_every_bias_zero() -> None:
    net = small_vgg()
    assert all(torch.equal(n.weight, torch.ones_like(n.weight)) for n in net.norms)
    assert not any(n.bias.any() for n in net.norms)
    assert not net.layers[-1].bias.any()


def test_a_layers_weights_depend_on_seed_and_place_alone() -> None:
    def weights(depth: int, seed: int = 0, kind: str = "batch") -> list[Tensor]:
        spec = Spec(net=DLN(kind="dln", depth=depth), norm=Norm(kind=kind), seed=seed, precision="float64")
        return [layer.weight for layer in build(spec, inputs=(10,), outputs=10).layers]

    torch.manual_seed(3)
    short, long = weights(3), weights(6, kind="none")
    assert all(map(torch.equal, short, long[:3]))
    assert not torch.equal(short[0], short[1])
    assert not torch.equal(short[0], weights(3, seed=1)[0])


def test_both_precisions_begin_at_the_same_weights() -> None:
    double = build(Spec(net=VGG(width=0.05), precision="float64"), inputs=IMAGE, outputs=10)
    single = build(Spec(net=VGG(width=0.05)), inputs=IMAGE, outputs=10)
    assert {p.dtype for p in single.parameters()} == {torch.float32}
    assert {b.dtype for b in double.buffers()} == {torch.float64}
    for one, other in zip(double.parameters(), single.parameters(), strict=True):
        assert torch.equal(one.float(), other)


@pytest.mark.parametrize("position", ["after_norm", "before_norm", "input", "last_norm"])
@pytest.mark.parametrize("kind", NORM_KINDS)
def test_old_weights_on_stacked_chains_give_each_chains_own_gradient(kind: str, position: str) -> None:
    """What the ICS probe needs: one layer's explicit weight on several activations at once, each chain with
    its own statistics and the same noise, and the gradient with respect to that weight."""
    net = small_vgg(Norm(kind=kind), Noise(on=True, position=position))
    layer = net.layers[-2]
    old = torch.randn_like(layer.weight).requires_grad_()
    chains = [images(3, channels=32, size=2, seed=s) for s in range(3)]
    gamma, beta = layer.affine
    alone = interleave([layer.compute(x, old, gamma, beta, ForwardMode(noise_step=5)) for x in chains])
    stacked = layer.compute(interleave(chains), old, gamma, beta, ForwardMode(noise_step=5, chains=3))
    torch.testing.assert_close(stacked, alone)
    weights = torch.linspace(-1, 1, alone.numel(), dtype=torch.float64).view_as(alone)
    for one, other in zip(
        torch.autograd.grad((stacked * weights).sum(), old),
        torch.autograd.grad((alone * weights).sum(), old),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)
    assert layer.weight.grad is None


@pytest.mark.parametrize("kind", NORM_KINDS)
def test_forward_is_compute_and_compute_is_map_then_respond(kind: str) -> None:
    net, p = small_vgg(Norm(kind=kind)), ForwardMode()
    layer, x = net.layers[0], images(3)
    gamma, beta = layer.affine
    whole = layer(x, p)
    assert torch.equal(layer.compute(x, layer.weight, gamma, beta, p), whole)
    y = layer.map(x, layer.weight, p)
    kept = y.clone()
    torch.testing.assert_close(layer.respond(y, gamma, beta, p), whole)
    assert torch.equal(y, kept)


@pytest.mark.parametrize(
    "wrong", [{"chains": 0}, {"track": True, "chains": 2}, {"track": True, "training": False}]
)
def test_a_pass_that_makes_no_sense_is_refused(wrong: dict[str, int | bool]) -> None:
    with pytest.raises(ValueError, match="expected"):
        ForwardMode(**wrong)


def test_train_and_eval_mode_change_nothing() -> None:
    net, x = small_vgg(), images(3)
    training = net.train()(x)
    assert torch.equal(net.eval()(x), training)


def test_a_layers_norm_is_the_module_that_is_registered() -> None:
    """However it is looked up, also in a copy and after another was put in its place."""
    first = NormPosition(4, positions=False, setting=Norm(), dtype=torch.float64)
    layer = Layer((4, 4), norm=first, dtype=torch.float64)
    twin = copy.deepcopy(layer)
    assert twin.norm is twin._modules["norm"] is not first
    layer.norm = NormPosition(4, positions=False, setting=Norm(kind="l1"), dtype=torch.float64)
    assert layer.norm is layer._modules["norm"] is not first
    assert layer.norm.kind == "lp"


@pytest.mark.parametrize(
    "net",
    [VGG(kind="vgg11", width=0.125), VGG(width=0.125, head=(8, 8)), DLN(depth=7), MLP(hidden=(4, 4, 4))],
)
def test_the_number_of_layers_is_foreseen(net: VGG | DLN | MLP) -> None:
    """So that a layer which is not there is refused before anything starts."""
    inputs, outputs = ((10,), 10) if isinstance(net, DLN) else (IMAGE, 10)
    assert net.layers == len(build(Spec(net=net), inputs=inputs, outputs=outputs).layers)
