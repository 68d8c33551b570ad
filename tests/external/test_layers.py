"""What counts as a layer of a network, and as its output, for each kind of module."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import bncore
from bncore.store.journal import read_events

from .factories import of_type


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(4, 2, batch_first=True)
        self.last = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.attend(x, x, x)[0])  # type: ignore[no-any-return]


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.memory = nn.GRU(4, 3, batch_first=True)
        self.last = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.memory(x)[0])  # type: ignore[no-any-return]


class Own(nn.Module):
    """A weight of its own beside a module."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.ones(4, 4))
        self.last = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x @ self.table)  # type: ignore[no-any-return]


class Vector(nn.Module):
    """No weight at all: its parameter has one dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.slopes = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.slopes  # type: ignore[no-any-return]


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        self.last.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).tanh())  # type: ignore[no-any-return]


Make = Callable[[], nn.Module]
Outputs = Callable[[nn.Module, Tensor], list[Tensor]]
"""The outputs of the layers that have one, [N, units, ...], written out."""

LINES = torch.Size((3, 5, 4))
KINDS: dict[str, tuple[Make, torch.Size, list[str], list[int], Outputs]] = {
    "linear with a norm": (
        lambda: nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 2)),
        LINES, ["0.weight", "3.weight"], [1, 2],
        lambda net, x: [net[1](net[0](x)).flatten(0, 1), net(x).flatten(0, 1)],  # type: ignore[index,operator]
    ),
    "a norm that is not given the output directly": (
        lambda: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.RMSNorm(6), nn.Linear(6, 2)),
        LINES, ["0.weight", "3.weight"], [1, 2],
        lambda net, x: [net[0](x).flatten(0, 1), net(x).flatten(0, 1)],  # type: ignore[index,operator]
    ),
    "convolution in one dimension": (
        lambda: nn.Sequential(nn.Conv1d(5, 6, 2), nn.BatchNorm1d(6), nn.ReLU(), nn.Conv1d(6, 2, 1)),
        LINES, ["0.weight", "3.weight"], [1, 2],
        lambda net, x: [net[1](net[0](x)), net(x)],  # type: ignore[index,operator]
    ),
    "convolution in three dimensions": (
        lambda: nn.Sequential(nn.Conv3d(1, 2, 2), nn.GroupNorm(1, 2), nn.Flatten(), nn.Linear(8, 2)),
        torch.Size((4, 1, 2, 3, 3)), ["0.weight", "3.weight"], [1, 2],
        lambda net, x: [net[1](net[0](x)), net(x)],  # type: ignore[index,operator]
    ),
    "attention": (
        Attention, LINES, ["attend.in_proj_weight", "attend.out_proj.weight", "last.weight"], [2, 3],
        lambda net, x: [net.attend(x, x, x)[0].flatten(0, 1), net(x).flatten(0, 1)],  # type: ignore[operator]
    ),
    "a recurrent layer": (
        Recurrent, LINES, ["memory.weight_ih_l0", "memory.weight_hh_l0", "last.weight"], [3],
        lambda net, x: [net(x).flatten(0, 1)],
    ),
    "a weight of a module that holds others": (
        Own, LINES, ["table", "last.weight"], [2], lambda net, x: [net(x).flatten(0, 1)]
    ),
    "tied weights": (
        Tied, LINES, ["first.weight"], [1], lambda net, x: [net.first(x).flatten(0, 1)]  # type: ignore[operator]
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_layers_and_their_outputs(tmp_path: Path, kind: str) -> None:
    make, shape, weights, layers, outputs = KINDS[kind]
    torch.manual_seed(1)
    net, x = make().double(), torch.randn(shape, dtype=torch.float64)
    with torch.no_grad():
        expected = outputs(net, x)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with (
        bncore.observe(
            net, optimizer, loss_of=lambda net, x: net(x).square().mean(), run=tmp_path / "run",
            probes={"activations": {"every": 1}},
        ) as watch,
        watch.step(x),
    ):  # fmt: skip
        net(x).square().mean().backward()
        optimizer.step()
    assert bncore.load_run(tmp_path / "run").meta["layers"] == weights
    (event,) = of_type(read_events(tmp_path / "run" / "journal.jsonl"), "probe", "activations")
    assert event["layers"] == layers
    for place, output in enumerate(expected):
        dims = (0, *range(2, output.ndim))
        np.testing.assert_allclose(event["mean"][place], output.mean(), rtol=1e-9, atol=1e-12)
        variance = output.var(dims, correction=0).mean()
        np.testing.assert_allclose(event["variance"][place], variance, rtol=1e-9)


class Counting(nn.Linear):
    """Its hash changes as it is called, as a metric's of torchmetrics does; its output always has a gradient."""

    calls = 0

    def __hash__(self) -> int:
        return self.calls

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x).requires_grad_()


def test_modules_are_known_by_identity_and_outputs_need_no_gradient(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(4, 3), Counting(3, 2))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    x = torch.randn(5, 4)
    probes = {"activations": {"every": 1}}
    with (
        bncore.observe(
            net, nn.MSELoss(), optimizer, run=tmp_path / "run", probes=probes, on_error="raise"
        ) as watch,
        watch.step(x, x[:, :2]) as step,
    ):
        loss = (net(x) - x[:, :2]).square().mean()
        loss.backward()
        optimizer.step()
        step.record(loss)
    (event,) = of_type(read_events(tmp_path / "run" / "journal.jsonl"), "probe", "activations")
    assert len(event["layers"]) == 2


class Wrapping(torch.optim.Optimizer):
    """As Accelerate's: without hooks of its own."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    def step(self, closure: object = None) -> None:  # type: ignore[override]
        self.optimizer.step()


def test_a_wrapped_optimizer_is_that_which_makes_the_updates(tmp_path: Path) -> None:
    net = nn.Linear(3, 2)
    optimizer = Wrapping(torch.optim.SGD(net.parameters(), lr=0.1))
    x = torch.randn(5, 3)
    with (
        bncore.observe(
            net, nn.MSELoss(), optimizer, run=tmp_path / "run", probes={}, on_error="raise"
        ) as watch,
        watch.step(x, x[:, :2]) as step,
    ):
        loss = (net(x) - x[:, :2]).square().mean()
        loss.backward()
        optimizer.step()
        step.record(loss)
    (event,) = of_type(read_events(tmp_path / "run" / "journal.jsonl"), "step")
    assert (event["loss"], event["lr"]) == (loss.item(), 0.1)


def test_a_network_without_layers_has_a_sharpness_and_no_ics(tmp_path: Path) -> None:
    net = Vector().double()
    optimizer, x = torch.optim.SGD(net.parameters(), lr=0.1), torch.randn(8, 4, dtype=torch.float64)
    probes = {"ics": {"every": 1}, "sharpness": {"every": 1}}
    with (
        pytest.warns(RuntimeWarning, match="no layers; expected a parameter of two or more dimensions"),
        bncore.observe(
            net, optimizer, loss_of=lambda net, x: net(x).square().mean(), run=tmp_path / "run", probes=probes
        ) as watch,
        watch.step(x),
    ):
        net(x).square().mean().backward()
        optimizer.step()
    events = read_events(tmp_path / "run" / "journal.jsonl")
    (event,) = of_type(events, "probe", "sharpness")
    largest = torch.linalg.eigvalsh(2 * x.T @ x / len(x))[-1].item()
    assert event["eigenvalue"] == pytest.approx(largest, rel=1e-3)
    assert [e["name"] for e in of_type(events, "probe_failed")] == ["ics"]
