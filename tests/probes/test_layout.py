"""With channels innermost in memory, also on a CPU, what is measured is by definition, noise and l_p norms too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from oracles import ics as ics_oracle
from oracles import landscape as landscape_oracle
from oracles.objective import cross_entropy
from torch.nn import functional as F

from bncore.config.model import Noise, Norm
from bncore.config.probes import Ics, Landscape, Sharpness
from bncore.nets import LayeredNet, NormPosition
from bncore.nets.layer import Layer
from bncore.nets.noise import is_channels_last
from bncore.probes.growing import growing_batch
from bncore.probes.ics import IcsProbe, layerwise_gradients
from bncore.probes.landscape import LandscapeProbe
from bncore.probes.view import StepView

from .step import ENTROPY, TYPE, drawn, plain_layers, step_of

KINDS = ("none", "batch", "l1", "l2", "linf", "lp:3", "layer", "group", "instance", "weight")
NOISES = [None, Noise(on=True), Noise(on=True, position="before_norm"), Noise(on=True, amplitude="relative")]


def pictures_step(kind: str, noise: Noise | None = None, *, innermost: bool = True) -> StepView:
    """One step on pictures 3x4x4 -> 4 -> 4, pooled -> 4, pooled -> 3 classes."""
    setting = Norm(kind=kind, groups=2)
    maps = [((4, 3, 3, 3), False), ((4, 4, 3, 3), True), ((4, 4, 3, 3), True)]
    layers = [
        Layer(
            shape, norm=NormPosition(4, positions=True, setting=setting, dtype=TYPE), activation=F.relu, pool=pool,
            dtype=TYPE,
        )
        for shape, pool in maps
    ]  # fmt: skip
    head = Layer((3, 4), norm=None, bias=True, dtype=TYPE)
    net = LayeredNet([*layers, head], inputs=(3, 4, 4), seed=3, noise=noise or Noise())
    with torch.no_grad():
        for i, (name, value) in enumerate(net.named_parameters()):
            size, shift = (0.3, float(name.endswith("norm.weight"))) if value.ndim == 1 else (0.5, 0.0)
            value.copy_(size * drawn(*value.shape, seed=40 + i) + shift)
    layout = torch.channels_last if innermost else torch.contiguous_format
    inputs = drawn(6, 3, 4, 4, seed=1).contiguous(memory_format=layout)
    net = net.to(memory_format=layout)
    return step_of(net, inputs, torch.arange(6) % 3, ENTROPY, lr=0.05)


@pytest.mark.parametrize("noise", NOISES[:2], ids=["quiet", "noisy"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "instance"])
def test_shift_and_landscape_are_their_definitions(kind: str, noise: Noise | None) -> None:
    view = pictures_step(kind, noise)
    assert is_channels_last(view.inputs) and is_channels_last(view.before["layers.1.weight"])
    old, new = plain_layers(view), plain_layers(replace(view, before=view.after))
    shifts = ics_oracle.ics(old, new, view.inputs, view.targets, cross_entropy)
    found = IcsProbe(Ics(floor_every=1)).measure(view)
    for name in ("l2", "cosine", "relative"):
        expected = [getattr(shift, name) for shift in shifts[1:]]
        np.testing.assert_allclose(found[name][1:], expected, rtol=1e-8, atol=1e-11)
    assert (found["floor"] < 1e-12).all()  # each sample meets its own noise in another order too
    along = landscape_oracle.landscape(
        old, view.inputs, view.targets, cross_entropy, lr=view.lr, multiples=(0.5, 2.0)
    )
    probe = LandscapeProbe(Landscape(multiples=(0.5, 2.0), floor_every=1), Sharpness())
    measured = probe.measure(view)
    np.testing.assert_allclose(measured["loss"], along.losses, rtol=1e-9)
    np.testing.assert_allclose(measured["grad_diff"], along.changes, rtol=1e-7, atol=1e-11)
    assert measured["floor"] < 1e-12


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("kind", KINDS)
def test_chains_folded_into_the_batch_give_every_layers_own_gradient(kind: str, noise: Noise | None) -> None:
    view = pictures_step(kind, noise)
    layers = range(len(view.weights))
    for group in (0, 1, 2):
        grown = growing_batch(view, view.after, layers, group=group)
        for fast, plain in zip(grown, layerwise_gradients(view, view.after, layers), strict=True):
            torch.testing.assert_close(fast, plain, rtol=1e-10, atol=1e-12)


def test_the_layout_changes_the_noise_and_without_noise_only_rounding() -> None:
    one, other = (pictures_step("l1", innermost=innermost) for innermost in (False, True))
    for name, g in one.grads.items():
        torch.testing.assert_close(other.grads[name].contiguous(), g, rtol=1e-10, atol=1e-12)
    noisy, others = (pictures_step("l1", NOISES[1], innermost=innermost) for innermost in (False, True))
    assert noisy.loss != pytest.approx(others.loss, rel=1e-6)
