"""A training step of a tiny network, seen by the probes and by the oracles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from oracles.network import Layer as PlainLayer
from oracles.network import Noise as PlainNoise
from torch import Tensor
from torch.nn import functional as F

from bncore.config.model import Loss, Noise, Norm
from bncore.nets import ForwardMode, LayeredNet, NormPosition, criterion
from bncore.nets.layer import Layer
from bncore.probes.view import StepView

HALF_SUM = Loss(kind="squared_error", reduction="half_sum")
ENTROPY = Loss()
TYPE = torch.float64


def drawn(*shape: int, seed: int) -> Tensor:
    """Standard normal float64 draws."""
    return torch.randn(*shape, dtype=TYPE, generator=torch.Generator().manual_seed(seed))


def small_net(
    setting: Norm, noise: Noise | None = None, *, pictures: bool = False, linear: bool = False
) -> LayeredNet:
    """3 -> 4 -> 4 -> 2 with ReLU (or linear), or pictures 1x4x4 -> a pooled convolution of 2 -> 3 classes."""
    activation = None if linear else F.relu

    def normed(shape: tuple[int, ...], *, pool: bool = False) -> Layer:
        norm = NormPosition(shape[0], positions=len(shape) == 4, setting=setting, dtype=TYPE)
        return Layer(shape, norm=norm, activation=activation, pool=pool, dtype=TYPE)

    if pictures:
        layers = [normed((2, 1, 3, 3), pool=True), Layer((3, 8), norm=None, bias=True, dtype=TYPE)]
    else:
        layers = [normed((4, 3)), normed((4, 4)), Layer((2, 4), norm=None, bias=True, dtype=TYPE)]
    net = LayeredNet(
        layers, inputs=(1, 4, 4) if pictures else (3,), seed=3, noise=noise if noise is not None else Noise()
    )
    with torch.no_grad():
        for i, (name, value) in enumerate(net.named_parameters()):
            size = 0.3 if "norm" in name or "bias" in name else 1.0
            value.copy_(
                size * drawn(*value.shape, seed=20 + i) + (1.0 if name.endswith("norm.weight") else 0.0)
            )
    return net


def step_of(
    net: LayeredNet, inputs: Tensor, targets: Tensor, loss: Loss, *, lr: float = 0.1, step: int = 7
) -> StepView:
    """Make one step of gradient descent and view it."""
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    buffers = {name: b.clone() for name, b in net.named_buffers()}
    measure = criterion(loss)
    value = measure(net(inputs, ForwardMode(track=True, noise_step=step)), targets)
    trained = net.active_parameters()
    grads = dict(zip(trained, torch.autograd.grad(value, list(trained.values())), strict=True))
    with torch.no_grad():
        for name, p in trained.items():
            p.sub_(lr * grads[name])
    return StepView(
        step, 11, net, measure, inputs, targets, before, buffers, grads, value.item(), lr, stability=2 / lr
    )


def small_step(
    norm: str = "batch", noise: Noise | None = None, *, eps: float = 1e-5, samples: int = 6,
    pictures: bool = False, linear: bool = False, lr: float = 0.1,
) -> StepView:  # fmt: skip
    """One step of `small_net` on Gaussian vectors (half squared error) or pictures (cross-entropy)."""
    net = small_net(Norm(kind=norm, eps=eps, groups=2), noise, pictures=pictures, linear=linear)
    if pictures:
        targets = torch.arange(samples) % 3
        return step_of(net, drawn(samples, 1, 4, 4, seed=1), targets, ENTROPY, lr=lr)
    return step_of(net, drawn(samples, 3, seed=1), drawn(samples, 2, seed=2), HALF_SUM, lr=lr)


def plain_layers(view: StepView) -> list[PlainLayer]:
    """The network of a view at theta_t, as the oracles take it."""
    made, x = [], view.inputs
    for i, layer in enumerate(view.net.layers):
        own = {
            name.removeprefix(f"layers.{i}."): value
            for name, value in view.before.items()
            if name.startswith(f"layers.{i}.")
        }
        made.append(_plain(layer, own))
        if layer.noise_after_norm is not None:
            like = layer.map(x, layer.weight, view.how)  # draws are laid out as what they meet
            shift, scale = layer.noise_after_norm.draws(like, view.step)
            made[-1] = replace(made[-1], noise=PlainNoise(shift.clone(), scale.clone()))
        x = layer.activate(
            layer.normalize(layer.map(x, layer.weight, view.how), *layer.affine, view.how)
        ).detach()
    return made


def _plain(layer: Layer, own: Mapping[str, Tensor]) -> PlainLayer:
    norm = layer.norm
    if norm is None:
        return PlainLayer(own["weight"], bias=own.get("bias"))
    return PlainLayer(
        own["weight"],
        norm=norm.setting.kind,
        gamma=own["norm.weight"] if norm.uses_gamma else None,
        beta=own["norm.bias"] if norm.uses_beta else None,
        eps=norm.setting.eps,
        groups=norm.groups,
        relu=layer.activation is not None,
        pool=layer.pool,
    )  # fmt: skip


def frozen(view: StepView) -> dict[str, Tensor]:
    """A copy of everything a probe could write to."""
    live = {f"live.{name}": t.clone() for name, t in view.net.state_dict().items() if isinstance(t, Tensor)}
    seen = {
        f"{group}.{name}": t.clone()
        for group in ("before", "buffers", "grads")
        for name, t in getattr(view, group).items()
    }
    return {**live, **seen, "generator": torch.get_rng_state(), "inputs": view.inputs.clone()}
