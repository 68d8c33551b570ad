"""A network that is no LayeredNet is probed too, a pass a layer, with the same numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import pytest
import torch
from torch import nn

from bncore.config.model import Spec
from bncore.config.probes import Ics, Landscape, Probes, Sharpness
from bncore.nets import LayeredNet, criterion
from bncore.probes.batches import MicroBatch
from bncore.probes.ics import IcsProbe
from bncore.probes.landscape import LandscapeProbe
from bncore.probes.module import ModuleView
from bncore.probes.run import Measured, ProbeRunner
from bncore.probes.view import StepView

from .step import HALF_SUM, small_step

ICS = IcsProbe(Ics(floor_every=1))
LANDSCAPE = LandscapeProbe(Landscape(multiples=(0.5, 2.0), floor_every=1), Sharpness())


def twin(view: StepView) -> ModuleView:
    """The network of `small_step` from torch.nn alone, and the same step of it."""
    net = nn.Sequential(
        nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4), nn.ReLU(),
        nn.Linear(4, 4, bias=False), nn.BatchNorm1d(4), nn.ReLU(),
        nn.Linear(4, 2),
    ).double()  # fmt: skip
    with torch.no_grad():
        for p, value in zip(net.parameters(), view.before.values(), strict=True):
            p.copy_(value)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    buffers = {name: b.clone() for name, b in net.named_buffers()}
    measure = criterion(HALF_SUM)
    loss = measure(net(view.inputs), view.targets)
    loss.backward()
    with torch.no_grad():
        for p in net.parameters():
            assert p.grad is not None
            p.sub_(view.lr * p.grad)
    grads = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    return ModuleView(
        step=view.step, seed=view.seed, net=cast(LayeredNet, net),
        batch_loss=lambda net, batch: measure(net(batch[0]), batch[1]),
        micro_batches=(MicroBatch((view.inputs, view.targets)),),
        before=before, buffers=buffers, grads=grads, loss=loss.item(), lr=view.lr, weight_decay=0.0,
    )  # fmt: skip


def test_ics_of_any_module_is_announced_and_is_that_of_the_layered_one() -> None:
    view = small_step("batch")
    found, expected = ICS.measure(twin(view)), ICS.measure(view)
    assert (found["method"], expected["method"]) == ("growing batch", "growing batch")
    assert found["layers"] == [1, 2, 3]
    for name in ("l2", "cosine", "relative"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, atol=1e-12)


def test_the_landscape_of_any_module_is_that_of_the_layered_one() -> None:
    view = small_step("batch")
    found, expected = LANDSCAPE.measure(twin(view)), LANDSCAPE.measure(view)
    for name in ("loss", "grad_diff", "beta", "cosine"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9)
    assert found["floor"] < 1e-12


@pytest.mark.parametrize("decay", ["all", "weights"])
def test_so_it_is_with_the_penalty(decay: str) -> None:
    settings = Landscape(multiples=(0.5, 2.0), loss_multiples=(4.0,), floor_every=1, penalty=True)
    probe = LandscapeProbe(settings, Sharpness())
    view = replace(small_step("batch"), weight_decay=0.3, decay=decay)
    found = probe.measure(replace(twin(view), weight_decay=0.3, decay=decay))
    expected = probe.measure(view)
    for name in ("loss0", "loss", "loss_between", "grad_norm", "grad_diff", "beta", "cosine"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9)
    assert found["loss0"] > LANDSCAPE.measure(view)["loss0"] + 0.1


def test_probing_any_module_moves_nothing() -> None:
    view = twin(small_step("batch"))
    before = {name: t.clone() for name, t in view.net.state_dict().items()}
    lent = {name: t.clone() for name, t in view.buffers.items()}
    runner = ProbeRunner(Spec(probes=Probes.model_validate({"ics": {"every": 1}, "landscape": {"every": 1}})))
    assert all(isinstance(result, Measured) for result in runner.measure(view))
    assert all(torch.equal(t, before[name]) for name, t in view.net.state_dict().items())
    assert all(torch.equal(t, lent[name]) for name, t in view.buffers.items())
