"""Weight normalization against torch's own, and what it must leave unchanged."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import parametrizations

from bncore.config.model import DLN, MLP, Norm
from bncore.nets.forward_mode import ForwardMode
from bncore.nets.layer import Layer, unit_length
from bncore.nets.norm import NormPosition
from nets.factories import small_net

SETTING = Norm(kind="weight", eps=1e-12)


def layer(shape: tuple[int, ...]) -> Layer:
    generator = torch.Generator().manual_seed(3)
    norm = NormPosition(shape[0], positions=len(shape) == 4, setting=SETTING, dtype=torch.float64)
    made = Layer(shape, norm=norm, activation=torch.relu, dtype=torch.float64)
    with torch.no_grad():
        made.weight.normal_(generator=generator)
        norm.weight.uniform_(0.5, 2, generator=generator)
        norm.bias.normal_(generator=generator)
    return made


def theirs(mine: Layer) -> nn.Module:
    shape = tuple(mine.weight.shape)
    plain: nn.Conv2d | nn.Linear
    if mine.convolution:
        plain = nn.Conv2d(shape[1], shape[0], 3, padding=1, dtype=torch.float64)
    else:
        plain = nn.Linear(shape[1], shape[0], dtype=torch.float64)
    wrapped = parametrizations.weight_norm(plain, dim=0)
    assert mine.norm is not None
    with torch.no_grad():
        wrapped.parametrizations.weight.original0.copy_(mine.norm.weight.view(-1, *(1,) * (len(shape) - 1)))
        wrapped.parametrizations.weight.original1.copy_(mine.weight)
        wrapped.bias.copy_(mine.norm.bias)
    return wrapped


def test_outputs_and_gradients_are_those_of_torch() -> None:
    for shape, inputs in (((4, 3), (5, 3)), ((4, 3, 3, 3), (2, 3, 6, 6))):
        mine = layer(shape)
        other = theirs(mine)
        x = torch.randn(inputs, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        a, b = mine.forward(x, ForwardMode()), torch.relu(other(x))
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
        (a * a.detach().cos()).sum().backward()
        (b * b.detach().cos()).sum().backward()
        assert mine.norm is not None
        weights = other.parametrizations.weight
        torch.testing.assert_close(mine.weight.grad, weights.original1.grad, rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(
            mine.norm.weight.grad, weights.original0.grad.flatten(), rtol=1e-11, atol=1e-12
        )
        torch.testing.assert_close(mine.norm.bias.grad, other.bias.grad, rtol=1e-11, atol=1e-12)


def test_the_length_of_a_units_weights_does_not_matter() -> None:
    mine = layer((4, 3))
    x = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    before = mine.forward(x, ForwardMode())
    with torch.no_grad():
        mine.weight.mul_(torch.tensor([[0.1], [3.0], [10.0], [1.0]], dtype=torch.float64))
    torch.testing.assert_close(mine.forward(x, ForwardMode()), before, rtol=1e-12, atol=1e-12)


def test_weights_of_length_zero_have_a_finite_gradient() -> None:
    weight = torch.zeros(2, 3, requires_grad=True)
    unit_length(weight, 1e-5).sum().backward()
    assert torch.isfinite(weight.grad).all()


def test_every_layer_with_a_norm_position_is_normalized() -> None:
    for net in (DLN(depth=3, width=4), MLP(hidden=(4, 4))):
        built = small_net(net, SETTING)
        assert [norm.kind for norm in built.norms] == ["weight"] * len(built.norms)
        outputs = built(torch.ones(2, 6, dtype=torch.float64))
        with torch.no_grad():
            built.layers[0].weight.mul_(7)
        torch.testing.assert_close(built(torch.ones(2, 6, dtype=torch.float64)), outputs)
