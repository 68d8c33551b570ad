"""What is journaled of an observed loop is what the definitions say, by oracles that share no code with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from oracles import activations, ics, landscape, measures, network, objective, sharpness
from oracles.network import Layer
from oracles.network import Noise as PlainNoise
from torch import Tensor, nn

from bncore.external.observe import DEFAULT_PROBES
from bncore.probes.layer_map import LayerMap, outputs_seen, watched

from .factories import Event, Loop, batches, mlp, of_type, pictures, probe_at

EPS = 1e-5
STEP = 2
"""The step looked at: momentum and running statistics have moved by then."""


def mlp_layers(p: Mapping[str, Tensor], mask: Tensor | None = None, shift: int = 0) -> list[Layer]:
    """The layers of `mlp`; `mask` multiplies the first layer's activation, `shift` counts the modules after it."""
    noise = None if mask is None else PlainNoise(torch.zeros_like(mask), mask)
    return [
        Layer(
            p["0.weight"],
            norm="batch",
            gamma=p["1.weight"],
            beta=p["1.bias"],
            eps=EPS,
            relu=True,
            noise=noise,
        ),
        Layer(
            p[f"{3 + shift}.weight"],
            norm="batch",
            gamma=p[f"{4 + shift}.weight"],
            beta=p[f"{4 + shift}.bias"],
            eps=EPS,
            relu=True,
        ),
        Layer(p[f"{6 + shift}.weight"], bias=p[f"{6 + shift}.bias"]),
    ]


def picture_layers(p: Mapping[str, Tensor]) -> list[Layer]:
    return [
        Layer(
            p["0.weight"], norm="batch", gamma=p["1.weight"], beta=p["1.bias"], eps=EPS, relu=True, pool=True
        ),
        Layer(p["5.weight"], bias=p["5.bias"]),
    ]


def mean_squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return ((outputs - targets) ** 2).sum() / outputs.numel()


def check(
    events: list[Event],
    old: list[Layer],
    new: list[Layer],
    batch: tuple[Tensor, Tensor],
    *,
    loss: network.Loss,
    lr: float,
    method: str = "growing batch",
) -> None:
    """Every number of every probe at `STEP`."""
    check_ics(probe_at(events, "ics", STEP), ics.ics(old, new, *batch, loss), method)
    known = landscape.landscape(old, *batch, loss, lr=lr, multiples=(0.5, 1.0, 2.0, 4.0))
    check_landscape(probe_at(events, "landscape", STEP), known)
    check_activations(probe_at(events, "activations", STEP), [t.z for t in network.trace(old, batch[0])])
    check_sharpness(probe_at(events, "sharpness", STEP), old, new, batch, loss=loss, lr=lr)
    (step,) = [e for e in of_type(events, "step") if e["step"] == STEP]
    assert step["loss"] == pytest.approx(known.loss, rel=1e-12)
    assert step["grad_norm"] == pytest.approx(known.gradient_norm, rel=1e-12)
    assert step["lr"] == lr


def check_ics(found: Event, known: list[ics.Shift], method: str) -> None:
    assert found["method"] == method
    assert found["layers"] == list(range(1, len(known) + 1))
    np.testing.assert_allclose(found["l2"], [s.l2 for s in known], rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(found["cosine"], [s.cosine for s in known], rtol=1e-9)
    np.testing.assert_allclose(found["relative"], [s.relative for s in known], rtol=1e-9, atol=1e-14)


def check_landscape(found: Event, known: landscape.Landscape) -> None:
    names = {
        "loss": known.losses, "grad_diff": known.changes, "relative": known.relative_changes,
        "cosine": known.cosines, "loss0": known.loss, "grad_norm": known.gradient_norm,
        "loss_min": known.loss_band[0], "loss_max": known.loss_band[1], "grad_diff_sum": known.summed_changes,
        "grad_diff_min": known.change_band[0], "grad_diff_max": known.change_band[1],
        "lipschitz": known.lipschitz, "beta": known.beta, "beta_lr": known.beta_lr,
        "two_over_lr": known.lines[0], "one_over_a_min": known.lines[1],
    }  # fmt: skip
    for name, value in names.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-9, err_msg=name)


def check_activations(found: Event, outputs: list[Tensor]) -> None:
    assert found["layers"] == list(range(1, len(outputs) + 1))
    for i, z in enumerate(outputs):
        units = activations.unit_moments(z)
        assert found["mean"][i] == pytest.approx(sum(u.mean for u in units) / len(units), rel=1e-9, abs=1e-14)
        assert found["variance"][i] == pytest.approx(sum(u.variance for u in units) / len(units), rel=1e-9)
        assert found["unit_mean"][i] == pytest.approx(units[found["unit"][i]].mean, rel=1e-9, abs=1e-14)
        low, width = found["bin_low"][i], found["bin_width"][i]
        counts, below, above = activations.histogram(z, [low + k * width for k in range(16 + 1)])
        assert (found["counts"][i], below, above) == (counts, 0, 0)
    assert "dead" not in found  # which activation follows is not known


def check_sharpness(
    found: Event,
    old: list[Layer],
    new: list[Layer],
    batch: tuple[Tensor, Tensor],
    *,
    loss: network.Loss,
    lr: float,
) -> None:
    values = sharpness.eigenvalues(old, *batch, loss)
    assert abs(values - found["eigenvalue"]).min() <= found["residual"] * abs(found["eigenvalue"]) + 1e-9
    assert found["eigenvalue"] <= float(values[-1]) + 1e-9
    assert found["gradient_curvature"] == pytest.approx(
        sharpness.gradient_curvature(old, *batch, loss), rel=1e-8, abs=1e-10
    )
    lengths = [measures.length([layer.weight]) for layer in old]
    moved = [measures.distance([a.weight], [b.weight]) for a, b in zip(old, new, strict=True)]
    np.testing.assert_allclose(found["weight_norm"], lengths, rtol=1e-12)
    np.testing.assert_allclose(
        found["relative_update"], [m / w for m, w in zip(moved, lengths, strict=True)], rtol=1e-9
    )
    np.testing.assert_allclose(found["effective_lr"], [lr / w**2 for w in lengths], rtol=1e-12)


def test_every_number_of_a_batch_normalised_perceptron(tmp_path: Path) -> None:
    torch.manual_seed(1)
    loop, data = Loop(mlp()), batches(STEP + 1, 3)
    events = loop.observed(tmp_path / "run", data)
    old, new = mlp_layers(loop.before[STEP]), mlp_layers(loop.after[STEP])
    check(events, old, new, data[STEP], loss=mean_squared, lr=loop.lr)
    assert probe_at(events, "ics", 0)["floor"][0] < 1e-12
    assert not of_type(events, "probe_failed")


def test_every_number_of_a_convolutional_network_under_adam(tmp_path: Path) -> None:
    torch.manual_seed(2)
    net = pictures()
    loop = Loop(net, nn.CrossEntropyLoss(), 0.02, torch.optim.Adam(net.parameters(), lr=0.02))
    data = batches(STEP + 1, 1, 4, 4, classes=3)
    events = loop.observed(tmp_path / "run", data)
    old, new = picture_layers(loop.before[STEP]), picture_layers(loop.after[STEP])
    check(events, old, new, data[STEP], loss=objective.cross_entropy, lr=loop.lr)


def test_dropout_s_draws_are_those_of_the_step(tmp_path: Path) -> None:
    torch.manual_seed(3)
    loop, data = Loop(mlp(dropout=0.5)), batches(STEP + 1, 3)
    torch.manual_seed(4)
    drawn = torch.Generator().manual_seed(4)
    events = loop.observed(tmp_path / "run", data)
    masks = [
        2.0 * torch.empty(6, 4, dtype=torch.float64).bernoulli_(0.5, generator=drawn) for _ in range(STEP + 1)
    ]
    old, new = (mlp_layers(p[STEP], masks[STEP], shift=1) for p in (loop.before, loop.after))
    check(events, old, new, data[STEP], loss=mean_squared, lr=loop.lr)


def test_a_network_that_draws_has_no_noise_floor_and_says_so(tmp_path: Path) -> None:
    events = Loop(mlp(dropout=0.5)).observed(tmp_path / "run", batches(1, 3))
    assert not of_type(events, "probe_failed")
    assert all("floor" not in event for event in of_type(events, "probe"))
    assert any("there is no noise floor" in event["text"] for event in of_type(events, "warning"))


class Backwards(nn.Module):
    """Registers its layers in another order than it runs them."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 2)
        self.norm = nn.BatchNorm1d(4)
        self.first = nn.Linear(3, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(self.first(x)).relu())


def test_layers_are_counted_in_the_order_of_the_forward_pass(tmp_path: Path) -> None:
    torch.manual_seed(5)
    loop, data = Loop(Backwards().double()), batches(STEP + 1, 3)
    events = loop.observed(tmp_path / "run", data)

    def layers(p: Mapping[str, Tensor]) -> list[Layer]:
        first = Layer(
            p["first.weight"], norm="batch", gamma=p["norm.weight"], beta=p["norm.bias"], eps=EPS, relu=True
        )
        return [first, Layer(p["last.weight"], bias=p["last.bias"])]

    check(
        events,
        layers(loop.before[STEP]),
        layers(loop.after[STEP]),
        data[STEP],
        loss=mean_squared,
        lr=loop.lr,
        method="layer by layer",
    )
    said = "\n".join(e["text"] for e in of_type(events, "warning"))
    assert "layer by layer, at 2 forward and backward passes" in said


def test_the_learning_rate_is_that_of_the_update_though_a_schedule_changes_it_at_once(tmp_path: Path) -> None:
    torch.manual_seed(6)
    net = mlp()
    loop, data = Loop(net), batches(STEP + 1, 3)
    schedule = torch.optim.lr_scheduler.StepLR(loop.optimizer, 1, 0.5)
    make = loop.make

    def with_schedule(inputs: Tensor, targets: Tensor) -> Tensor:
        loss = make(inputs, targets)
        schedule.step()
        return loss

    loop.make = with_schedule  # type: ignore[method-assign]
    events = loop.observed(tmp_path / "run", data)
    old, new = mlp_layers(loop.before[STEP]), mlp_layers(loop.after[STEP])
    check(events, old, new, data[STEP], loss=mean_squared, lr=0.1 * 0.5**STEP)


def test_gradients_may_be_cleared_within_the_step(tmp_path: Path) -> None:
    torch.manual_seed(7)
    loop, data = Loop(mlp()), batches(STEP + 1, 3)
    make = loop.make

    def cleared(inputs: Tensor, targets: Tensor) -> Tensor:
        loss = make(inputs, targets)
        loop.optimizer.zero_grad(set_to_none=True)
        return loss

    loop.make = cleared  # type: ignore[method-assign]
    events = loop.observed(tmp_path / "run", data)
    old, new = mlp_layers(loop.before[STEP]), mlp_layers(loop.after[STEP])
    check(events, old, new, data[STEP], loss=mean_squared, lr=loop.lr)


def test_clipped_gradients_are_measured_unclipped_and_it_is_said(tmp_path: Path) -> None:
    torch.manual_seed(8)
    net, (batch,) = mlp(), batches(1, 3)
    loop = Loop(net)
    plain = mlp_layers({name: p.detach().clone() for name, p in net.named_parameters()})
    loop.optimizer.register_step_pre_hook(
        lambda *_: nn.utils.clip_grad_norm_(net.parameters(), 1e-3) and None
    )
    events = loop.observed(tmp_path / "run", [batch])
    known = landscape.landscape(plain, *batch, mean_squared, lr=0.1, multiples=(0.5, 1.0, 2.0, 4.0))
    check_landscape(probe_at(events, "landscape", 0), known)
    assert of_type(events, "step")[0]["grad_norm"] == pytest.approx(1e-3, rel=1e-3)
    assert any("the gradient is clipped" in event["text"] for event in of_type(events, "warning"))


def test_ics_of_a_sequence_takes_no_pass_of_its_own(tmp_path: Path) -> None:
    def calls(steps: int) -> int:
        """Of the loss, in so many steps."""
        losses = []

        def loss(outputs: Tensor, targets: Tensor) -> Tensor:
            losses.append(nn.functional.mse_loss(outputs, targets))
            return losses[-1]

        probes = {"ics": {"every": 1, "floor_every": 0}}
        Loop(mlp(), loss).observed(tmp_path / f"{steps}", batches(steps, 3), probes=probes)
        return len(losses)

    own, comparison, chains = 1, 1, 2  # a chain for each layer but the first
    assert calls(STEP + 1) - calls(STEP) == own + comparison + chains


def test_a_frozen_weight_is_no_layer(tmp_path: Path) -> None:
    torch.manual_seed(9)
    net = mlp()
    net[0].weight.requires_grad_(False)
    loop, data = Loop(net), batches(STEP + 1, 3)
    events = loop.observed(tmp_path / "run", data)
    old, new = mlp_layers(loop.before[STEP]), mlp_layers(loop.after[STEP])
    known = ics.ics(old, new, *data[STEP], mean_squared)
    found = probe_at(events, "ics", STEP)
    assert found["layers"] == [1, 2]
    # gamma and beta of the frozen layer were updated and are part of every prefix
    np.testing.assert_allclose(found["l2"], [known[1].l2, known[2].l2], rtol=1e-9)


class Counting(nn.Module):
    """y = n W x, where the n-th forward pass counts itself."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(3, 2, bias=False)
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        return self.count * self.map(x)


def test_every_pass_of_a_probe_begins_with_the_buffers_that_the_step_began_with(tmp_path: Path) -> None:
    torch.manual_seed(11)
    loop, data = Loop(Counting().double(), lr=0.01), batches(STEP + 1, 3)
    events = loop.observed(tmp_path / "run", data, probes={"landscape": {"every": 1}})
    inputs, targets = data[STEP]
    old = [Layer((STEP + 1) * loop.before[STEP]["map.weight"])]
    (g,) = network.gradients(old, inputs, targets, mean_squared)
    moved = [old[0].weight - m * loop.lr * (STEP + 1) ** 2 * g for m in (0.5, 1.0, 2.0, 4.0)]
    known = [float(network.loss_of([Layer(w)], inputs, targets, mean_squared)) for w in moved]
    np.testing.assert_allclose(probe_at(events, "landscape", STEP)["loss"], known, rtol=1e-12)


def test_parameters_that_the_optimizer_does_not_update_are_as_frozen(tmp_path: Path) -> None:
    """Their gradients pile up, since the optimizer clears its own alone."""
    torch.manual_seed(10)
    net = mlp()
    head = torch.optim.SGD(net[3:].parameters(), lr=0.1)
    events = Loop(net, optimizer=head).observed(tmp_path / "run", batches(STEP + 1, 3))
    assert not of_type(events, "probe_failed")
    assert probe_at(events, "ics", STEP)["layers"] == [1, 2]


def test_by_itself_it_measures_landscape_and_activations(tmp_path: Path) -> None:
    loop = Loop(mlp())
    events = loop.observed(tmp_path / "run", batches(1, 3), probes=DEFAULT_PROBES)
    assert {e["name"] for e in of_type(events, "probe")} == {"landscape", "activations", "fidelity"}


def first_outputs(net: nn.Module, inputs: Tensor) -> Tensor:
    """What counts as the first layer's output, [N, units, ...]."""
    found: list[LayerMap] = []
    seen: list[Tensor] = []
    with watched(net, found):
        net(inputs)
    outputs_seen(net, found[0], lambda _, output: seen.append(output), lambda: net(inputs))
    return seen[0]


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm])
def test_units_of_a_norm_over_several_dimensions_are_the_channels(norm: type[nn.Module]) -> None:
    net = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), norm([5, 8, 6]), nn.Flatten(), nn.Linear(240, 2))
    assert first_outputs(net, torch.randn(4, 3, 8, 6)).shape == (4, 5, 8, 6)
    last = nn.Sequential(nn.Linear(3, 5), norm(5), nn.Linear(5, 2))
    assert first_outputs(last, torch.randn(4, 7, 3)).shape == (28, 5)


@pytest.mark.parametrize("inplace", [False, True])
def test_a_norm_behind_an_activation_is_not_the_layer_s_output(inplace: bool) -> None:
    torch.manual_seed(0)
    conv, inputs = nn.Conv2d(3, 5, 3), torch.randn(4, 3, 8, 8)
    net = nn.Sequential(conv, nn.ReLU(inplace=inplace), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(180, 2))
    found: list[LayerMap] = []
    with watched(net, found):
        net(inputs)
    assert found[0].outputs["0.weight"] == "0"
    direct = nn.Sequential(conv, nn.BatchNorm2d(5), nn.ReLU(inplace=inplace))
    with watched(direct, found):
        direct(inputs)
    assert found[1].outputs["0.weight"] == "1"
