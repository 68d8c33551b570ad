"""A loop ends bit by bit the same, observed or not."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

import bncore
from bncore.external.checks import ObserveError, unwrapped
from bncore.probes.activations import ActivationsProbe
from bncore.probes.ics import IcsProbe
from bncore.store.journal import read_events
from bncore.train.checkpoint import params_sha256

from .factories import ALL, batches, mlp, of_type, pictures

State = dict[str, Any]


class Drawing(nn.Module):
    """Draws from every generator of the process, and remembers things in attributes and buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.drop = nn.Dropout(0.3)
        self.last = nn.Linear(4, 2)
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("replaced", torch.zeros(()), persistent=False)
        self.passes = 0
        self.kept: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        self.seen += x.mean()
        self.replaced = self.replaced + 1
        self.kept = self.drop(self.first(x)).tanh()
        scale = random.uniform(0.5, 1.5) * float(np.random.uniform(0.5, 1.5)) * torch.rand(())
        return self.last(self.kept) * scale


def resnet() -> nn.Module:
    return torchvision.models.resnet18(num_classes=3)


class Recurrent(nn.Module):
    """An LSTM with dropout between its layers, which keeps its weights in a list besides."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = nn.LSTM(4, 3, num_layers=2, dropout=0.2, batch_first=True)
        self.last = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.memory(x)[0][:, -1])  # type: ignore[no-any-return]


def attention() -> nn.Module:
    """Layer normalization, attention with dropout."""
    return nn.Sequential(
        nn.Linear(4, 8), nn.TransformerEncoderLayer(8, 2, 16, dropout=0.2, batch_first=True),
        nn.Flatten(), nn.Linear(32, 3),
    ).double()  # fmt: skip


def state_of(net: nn.Module, optimizer: torch.optim.Optimizer) -> State:
    """Everything that the next step could depend on."""
    state: State = {
        f"net.{k}": v.detach().clone() for k, v in (*net.named_parameters(), *net.named_buffers())
    }
    state |= {f"grad.{k}": None if p.grad is None else p.grad.clone() for k, p in net.named_parameters()}
    for i, slots in optimizer.state_dict()["state"].items():
        state |= {f"optimizer.{i}.{k}": v.clone() if isinstance(v, Tensor) else v for k, v in slots.items()}
    state |= {"torch": torch.get_rng_state(), "python": random.getstate()}
    state["numpy"] = np.random.get_state()[1].copy()  # type: ignore[union-attr]
    for name, module in net.named_modules():
        state[f"mode.{name}"] = module.training
        hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
        state[f"hooks.{name}"] = [list(h.values()) for h in hooks]
    state["hooks.optimizer"] = list(optimizer._optimizer_step_pre_hooks.values())
    state["requires_grad"] = {k: p.requires_grad for k, p in net.named_parameters()}
    state["flags"] = (
        torch.backends.cudnn.conv.fp32_precision,
        torch.backends.cuda.matmul.fp32_precision,
        torch.backends.cudnn.benchmark,
        torch.is_grad_enabled(),
    )
    return state


def trained(
    make: Callable[[], nn.Module],
    data: list[tuple[Tensor, Tensor]],
    run: Path | None,
    probes: Any,
    **settings: Any,
) -> tuple[list[State], nn.Module]:
    """The states between the steps of a loop, and its network."""
    torch.manual_seed(1)
    random.seed(2)
    np.random.seed(3)
    net = make()
    identities = {name: id(t) for name, t in net.named_parameters()}
    loss_fn = nn.CrossEntropyLoss() if data[0][1].ndim == 1 else nn.MSELoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    states = []

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        optimizer.zero_grad(set_to_none=False)
        loss: Tensor = loss_fn(net(inputs), targets)
        loss.backward()
        optimizer.step()
        torch.rand(1), random.random(), np.random.rand()  # a loop may draw after its forward pass
        return loss

    if run is None:
        for batch in data:
            step(*batch)
            states.append(state_of(net, optimizer))
    else:
        with bncore.observe(net, loss_fn, optimizer, run=run, probes=probes, **settings) as watch:
            for batch in data:
                with watch.step(*batch) as observed:
                    observed.record(step(*batch))
                states.append(state_of(net, optimizer))
    assert {name: id(t) for name, t in net.named_parameters()} == identities
    return states, unwrapped(net)


def same(one: object, other: object) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and one.cpu().numpy().tobytes() == other.cpu().numpy().tobytes()
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)  # type: ignore[arg-type]
    return one == other


CASES: dict[str, tuple[Callable[[], nn.Module], list[tuple[Tensor, Tensor]], dict[str, Any]]] = {
    "resnet18": (
        resnet,
        [(x.float(), y) for x, y in batches(3, 3, 32, 32, classes=3, samples=4)],
        {**ALL, "ics": {"every": 2, "layers": (2, 21)}, "sharpness": {"every": 2, "iterations": 2}},
    ),
    "dropout": (lambda: mlp(dropout=0.5), batches(5, 3), dict(ALL)),
    "pictures": (pictures, batches(5, 1, 4, 4, classes=3), dict(ALL)),
    "every generator": (lambda: Drawing().double(), batches(5, 3), dict(ALL)),
    "attention": (attention, batches(3, 4, 4, classes=3), {**ALL, "landscape": {"every": 1}}),
    "recurrent": (lambda: Recurrent().double(), batches(3, 4, 4, classes=3), dict(ALL)),
    "compiled": (lambda: torch.compile(mlp(dropout=0.5), backend="eager"), batches(3, 3), dict(ALL)),  # type: ignore[dict-item]
}


@pytest.mark.cuda
@pytest.mark.parametrize("case", ["resnet18", "dropout", "attention"])
def test_observing_changes_nothing_on_a_gpu(
    tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    make, data, probes = CASES[case]
    on_gpu = [(x.cuda(), y.cuda()) for x, y in data]
    check(lambda: make().cuda(), on_gpu, probes, tmp_path / "run")


@pytest.mark.parametrize("case", CASES)
def test_observing_changes_nothing(tmp_path: Path, case: str) -> None:
    check(*CASES[case], tmp_path / "run")


def check(
    make: Callable[[], nn.Module], data: list[tuple[Tensor, Tensor]], probes: dict[str, Any], run: Path
) -> None:
    """Every state of the loop and its end, alone and observed."""
    alone, net = trained(make, data, None, probes)
    watched, same_net = trained(make, data, run, probes)
    for step, (one, other) in enumerate(zip(alone, watched, strict=True)):
        assert one.keys() == other.keys()
        assert [name for name in one if not same(one[name], other[name])] == [], f"after step {step}"
    events = read_events(run / "journal.jsonl")
    assert events[-1]["params_sha256"] == params_sha256(net) == params_sha256(same_net)
    assert {e["name"] for e in of_type(events, "probe")} == {*probes, "fidelity"}
    assert [e["reason"] for e in of_type(events, "probe_failed")] == []


def test_what_a_module_remembers_of_its_passes_is_that_of_the_loop(tmp_path: Path) -> None:
    make, data, probes = CASES["every generator"]
    _, alone = trained(make, data, None, probes)
    _, watched = trained(make, data, tmp_path / "run", probes)
    assert isinstance(alone, Drawing)
    assert isinstance(watched, Drawing)
    assert watched.passes == alone.passes == len(data)
    assert watched.kept is not None
    assert torch.equal(watched.kept, alone.kept)  # type: ignore[arg-type]


def test_a_probe_that_fails_changes_nothing_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, data, _ = CASES["dropout"]
    alone, _ = trained(make, data, None, {})
    for kind in (IcsProbe, ActivationsProbe):

        def failing(self: Any, view: Any, measure: Any = kind.measure) -> None:
            measure(self, view)
            raise ArithmeticError("after all its passes")

        monkeypatch.setattr(kind, "measure", failing)
    with pytest.warns(
        RuntimeWarning, match="failed at its first measurement, step 0: ArithmeticError"
    ) as reported:
        watched, _ = trained(make, data, tmp_path / "run", {"activations": {"every": 1}, "ics": {"every": 1}})
    assert len(reported) == 2  # once a probe
    assert [k for k in alone[-1] if not same(alone[-1][k], watched[-1][k])] == []
    failed = of_type(read_events(tmp_path / "run" / "journal.jsonl"), "probe_failed")
    assert [(e["name"], e["step"]) for e in failed] == [
        (n, s) for s in range(5) for n in ("ics", "activations")
    ]
    assert {e["reason"] for e in failed} == {"ArithmeticError: after all its passes"}


@pytest.mark.parametrize("probe", ["ics", "activations"])
def test_a_layer_that_the_model_has_not_is_refused_at_the_first_step(tmp_path: Path, probe: str) -> None:
    make, data, _ = CASES["dropout"]
    with pytest.raises(ObserveError, match=rf"probes.{probe}.layers: 99; expected numbers from 1 to 3"):
        trained(make, data, tmp_path / "run", {probe: {"every": 1, "layers": (2, 99)}}, on_error="raise")


def test_the_modes_of_the_update_are_those_of_the_probes_whatever_comes_after(tmp_path: Path) -> None:
    """A loop that evaluates within its step, and one that trains with some modules in evaluation mode."""
    torch.manual_seed(1)
    net, data = mlp(dropout=0.5), batches(2, 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    run = tmp_path / "run"
    with bncore.observe(net, nn.MSELoss(), optimizer, run=run, probes={"landscape": {"every": 1}}) as watch:
        for inputs, targets in data:
            with watch.step(inputs, targets) as step:
                net.train()
                net[1].eval()
                optimizer.zero_grad()
                loss = nn.functional.mse_loss(net(inputs), targets)
                loss.backward()
                optimizer.step()
                step.record(loss)
                net.eval()
            assert not any(module.training for module in net.modules())
    assert len(of_type(read_events(run / "journal.jsonl"), "probe", "landscape")) == 2
