"""Every optimizer with every option, checkpointing, hooks, torch.func, parametrizations: what is measured is plain
float64 autograd's, or the loop is refused at its first step, whatever the learning rate."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint

import bncore
from bncore import ObserveError
from bncore.store.journal import read_events

from .factories import batches, copied, probe_at

MULTIPLES = (0.5, 1.0, 2.0, 4.0)
LOSS = nn.MSELoss()
RATES = (0.05, 1e-12)
"""One at which the parameters move, and one at which nobody can tell."""

OPTIONS: dict[str, tuple[Any, ...]] = {
    "amsgrad": (True,), "decoupled_weight_decay": (True,), "maximize": (True,), "foreach": (True, False),
    "fused": (True,), "centered": (True,), "nesterov": (True,),
    "weight_decay": (0.1,), "momentum": (0.9,), "dampening": (0.5,), "lr_decay": (0.1,), "momentum_decay": (0.01,),
    "initial_accumulator_value": (0.2,), "eps": (1e-4,), "betas": ((0.5, 0.9),), "rho": (0.5,), "alpha": (0.5,),
    "lambd": (0.01,), "t0": (0.0,), "etas": ((0.4, 1.3),), "step_sizes": ((1e-5, 1.0),), "beta2_decay": (-0.5,),
    "d": (2.0,), "ns_coefficients": ((3.0, -4.0, 2.0),), "ns_steps": (3,), "adjust_lr_fn": ("match_rms_adamw",),
    "capturable": (), "differentiable": (),  # torch refuses them itself: no GPU, parameters that are leaves
    "lr": (),
}  # fmt: skip
ELSEWHERE = {"LBFGS", "SparseAdam"}
"""Refused (a closure), and for sparse gradients, which are refused: test_refused.py."""


def optimizers() -> list[tuple[str, dict[str, Any]]]:
    """Every class of torch.optim by name, plain and with each of its options."""
    found: list[tuple[str, dict[str, Any]]] = []
    for name, kind in vars(torch.optim).items():
        if not (inspect.isclass(kind) and issubclass(kind, torch.optim.Optimizer)):
            continue
        if kind is torch.optim.Optimizer or name in ELSEWHERE:
            continue
        found.append((name, {}))
        for option in list(inspect.signature(kind.__init__).parameters)[2:]:
            for value in OPTIONS[option]:
                settings = {option: value}
                if name == "SGD" and option in ("nesterov", "dampening"):
                    settings["momentum"] = 0.9
                if name == "Adafactor" and option == "eps":
                    settings["eps"] = (None, 1e-2)
                found.append((name, settings))
    return found


def small() -> nn.Module:
    """Matrices alone, which is what Muon takes."""
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Linear(3, 5, bias=False), nn.Tanh(), nn.Linear(5, 2, bias=False)
    ).double()  # fmt: skip


def gradient_at(
    net: nn.Module, theta: dict[str, Tensor], x: Tensor, y: Tensor
) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradient of a module that is put to these parameters: plain autograd."""
    buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
    with torch.no_grad():
        for name, p in net.named_parameters():
            p.copy_(theta[name])
            p.grad = None
    loss = LOSS(net(x), y)
    loss.backward()
    with torch.no_grad():
        for name, buffer in net.named_buffers():
            buffer.copy_(buffers[name])
    return loss.item(), {name: p.grad for name, p in net.named_parameters() if p.grad is not None}


def twin(net: nn.Module) -> nn.Module:
    """A copy, with its buffers; the module itself where it cannot be copied (it has none then)."""
    try:
        return copy.deepcopy(net)
    except RuntimeError:
        assert not list(net.buffers())
        return net


def distance(ones: dict[str, Tensor], others: dict[str, Tensor]) -> float:
    return float(sum(((ones[name] - others[name]) ** 2).sum() for name in others) ** 0.5)


def observe_and_check(
    run: Path,
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    lr: float,
    backward: Callable[[nn.Module, Tensor, Tensor], Tensor] | None = None,
) -> None:
    """Two observed steps, whose landscape and lengths are those of plain autograd."""
    probes = {
        "landscape": {"every": 1, "multiples": list(MULTIPLES), "floor_every": 0},
        "activations": {"every": 0},
    }
    data, reported = batches(2, 3), []
    strict: Any = {"check": "strict", "on_error": "raise"}
    with bncore.observe(net, LOSS, optimizer, run=run, probes=probes, **strict) as watch:
        for x, y in data:
            before, untouched = copied(net), twin(net)
            with watch.step(x, y) as step:
                optimizer.zero_grad()
                if backward is None:
                    loss = LOSS(net(x), y)
                    loss.backward()
                else:
                    loss = backward(net, x, y)
                optimizer.step()
                step.record(loss)
            reported.append((before, untouched))
    events = read_events(run / "journal.jsonl")
    for number, ((before, untouched), (x, y)) in enumerate(zip(reported, data, strict=True)):
        event = probe_at(events, "landscape", number)
        loss0, g = gradient_at(untouched, before, x, y)
        assert event["loss0"] == pytest.approx(loss0, rel=1e-12)
        size = float(sum((one**2).sum() for one in g.values()) ** 0.5)
        assert event["grad_norm"] == pytest.approx(size, rel=1e-10)
        for place, multiple in enumerate(MULTIPLES):
            there = {n: t - multiple * lr * g[n] if n in g else t for n, t in before.items()}
            loss, moved = gradient_at(untouched, there, x, y)
            assert event["loss"][place] == pytest.approx(loss, rel=1e-10)
            np.testing.assert_allclose(
                event["grad_diff"][place], distance(moved, g), rtol=1e-6, atol=1e-14 * size
            )


def test_every_option_of_every_optimizer_is_tried_here() -> None:
    kinds = {name for name, _ in optimizers()}
    assert {"SGD", "Adam", "AdamW", "Adagrad", "RMSprop", "ASGD", "Rprop", "Adafactor", "Muon"} <= kinds


@pytest.mark.parametrize(("name", "settings"), optimizers(), ids=str)
def test_under_every_optimizer_the_numbers_are_plain_autograd_s(
    tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    net = small()
    optimizer = getattr(torch.optim, name)(net.parameters(), lr=0.05, **settings)
    observe_and_check(tmp_path / "run", net, optimizer, 0.05)


@pytest.mark.parametrize("lr", [torch.tensor(0.05, dtype=torch.float64), 0.05])
def test_so_they_are_with_a_rate_in_a_tensor(tmp_path: Path, lr: Any) -> None:
    net = small()
    observe_and_check(tmp_path / "run", net, torch.optim.SGD(net.parameters(), lr=lr), 0.05)


class Checkpointed(nn.Module):
    """The inner part is recomputed in the backward pass."""

    def __init__(self, *, reentrant: bool) -> None:
        super().__init__()
        self.first, self.inner, self.reentrant = nn.Linear(3, 3).double(), small(), reentrant

    def forward(self, x: Tensor) -> Any:
        return checkpoint(self.inner, self.first(x), use_reentrant=self.reentrant)


class Elsewhere(nn.Module):
    """Reads a parameter by a reference of its own besides."""

    def __init__(self) -> None:
        super().__init__()
        self.map = small()
        self.kept = [next(self.map.parameters())]

    def forward(self, x: Tensor) -> Any:
        return self.map(x) + 0.1 * (x @ self.kept[0].detach().T).mean()


def test_checkpointing_is_measured_as_it_is_trained(tmp_path: Path) -> None:
    net = Checkpointed(reentrant=False)
    observe_and_check(tmp_path / "run", net, torch.optim.SGD(net.parameters(), lr=0.05), 0.05)


NOT_AT_OTHER_PARAMETERS: dict[str, Callable[[], nn.Module]] = {
    "reentrant checkpoint": lambda: Checkpointed(reentrant=True),
    "a reference": Elsewhere,
}


@pytest.mark.parametrize("lr", RATES)
@pytest.mark.parametrize("case", NOT_AT_OTHER_PARAMETERS)
def test_a_module_that_reads_its_own_parameters_is_refused_at_once(
    tmp_path: Path, case: str, lr: float
) -> None:
    net = NOT_AT_OTHER_PARAMETERS[case]()
    with pytest.raises(ObserveError, match=r"gradient: |loss: |model: run at other|use_reentrant=True"):
        observe_and_check(tmp_path / "run", net, torch.optim.SGD(net.parameters(), lr=lr), lr)


@pytest.mark.parametrize("lr", RATES)
def test_a_cached_parametrization_is_refused_at_once(tmp_path: Path, lr: float) -> None:
    net = small()
    parametrizations.weight_norm(net[0])  # type: ignore[index]
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    with pytest.raises(ObserveError), parametrize.cached():
        observe_and_check(tmp_path / "run", net, optimizer, lr)


PARAMETRIZATIONS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "weight_norm": parametrizations.weight_norm,
    "orthogonal": lambda layer: parametrizations.orthogonal(layer, orthogonal_map="cayley"),
    "spectral_norm": parametrizations.spectral_norm,
    "weight_norm of old": torch.nn.utils.weight_norm,
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_parametrized_weights_are_measured_as_they_are_trained(tmp_path: Path, name: str) -> None:
    net = small()
    PARAMETRIZATIONS[name](net[2])  # type: ignore[index]
    observe_and_check(tmp_path / "run", net, torch.optim.SGD(net.parameters(), lr=0.05), 0.05)


def by_func(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The gradient by torch.func, put where the optimizer looks for it."""
    parameters = {name: p.detach() for name, p in net.named_parameters()}

    def loss_of(theta: dict[str, Tensor]) -> Tensor:
        return LOSS(torch.func.functional_call(net, theta, (x,)), y)

    grads, loss = torch.func.grad_and_value(loss_of)(parameters)
    for name, p in net.named_parameters():
        p.grad = grads[name]
    return loss  # type: ignore[no-any-return]


def test_a_gradient_by_torch_func_is_taken(tmp_path: Path) -> None:
    net = small()
    observe_and_check(tmp_path / "run", net, torch.optim.SGD(net.parameters(), lr=0.05), 0.05, by_func)


@pytest.mark.parametrize("lr", RATES)
@pytest.mark.parametrize(
    "hook", [lambda g: 2 * g, lambda g: g.sign(), lambda g: g + 0.1], ids=["doubled", "sign", "shifted"]
)
def test_a_hook_that_makes_another_gradient_is_refused_at_once(tmp_path: Path, hook: Any, lr: float) -> None:
    net = small()
    next(net.parameters()).register_hook(hook)
    with pytest.raises(ObserveError, match="gradient: at the update it is"):
        observe_and_check(tmp_path / "run", net, torch.optim.SGD(net.parameters(), lr=lr), lr)


@pytest.mark.parametrize("lr", RATES)
def test_so_is_one_that_acts_when_it_is_accumulated(tmp_path: Path, lr: float) -> None:
    def negate(p: Tensor) -> None:
        assert p.grad is not None
        p.grad.neg_()

    net = small()
    next(net.parameters()).register_post_accumulate_grad_hook(negate)
    with pytest.raises(ObserveError, match="gradient: at the update it is"):
        observe_and_check(tmp_path / "run", net, torch.optim.SGD(net.parameters(), lr=lr), lr)


def test_a_hook_that_only_looks_is_called_as_often_as_ever_and_changes_nothing(tmp_path: Path) -> None:
    net, seen = small(), []
    next(net.parameters()).register_hook(lambda g: seen.append(float(g.norm())))  # type: ignore[func-returns-value]
    observe_and_check(tmp_path / "run", net, torch.optim.SGD(net.parameters(), lr=0.05), 0.05)
    assert len(seen) == 2  # once a step of the loop


@pytest.mark.parametrize("lr", RATES)
def test_parameters_changed_between_gradient_and_update_are_refused_at_once(
    tmp_path: Path, lr: float
) -> None:
    """Weight decay by hand, say."""
    net = small()

    def decayed(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        loss: Tensor = LOSS(net(x), y)
        loss.backward()
        with torch.no_grad():
            for p in net.parameters():
                p.mul_(1 - 1e-10)
        return loss

    with pytest.raises(
        ObserveError, match=r"parameters: 0\.weight was changed within the step before the update"
    ):
        observe_and_check(tmp_path / "run", net, torch.optim.SGD(net.parameters(), lr=lr), lr, decayed)


def test_putting_a_module_elsewhere_leaves_it_to_the_bit_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(0)
    nets = [
        nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 2)).double()
        for _ in "ab"
    ]
    nets[1].load_state_dict(nets[0].state_dict())
    for number, net in enumerate(nets):
        torch.manual_seed(5)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
        for place, (x, y) in enumerate(batches(3, 3)):
            if number and place == 0:
                with (
                    bncore.observe(
                        net, LOSS, optimizer, run=tmp_path / "run", probes={"landscape": {"every": 1}}
                    ) as w,
                    w.step(x, y) as step,
                ):
                    optimizer.zero_grad()
                    loss = LOSS(net(x), y)
                    loss.backward()
                    optimizer.step()
                    step.record(loss)
                continue
            optimizer.zero_grad()
            LOSS(net(x), y).backward()
            optimizer.step()
    one, other = (net.state_dict() for net in nets)
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_the_gradients_norm_is_of_the_models_parameters_that_are_updated(tmp_path: Path) -> None:
    """Also where the optimizer is given more of them, or somebody else's, in mid-run."""
    net, other = (
        nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).double(),
        nn.Parameter(torch.ones(2).double()),
    )
    optimizer = torch.optim.SGD(net[0].parameters(), lr=0.1)
    probes = {"activations": {"every": 0}, "landscape": {"every": 0}}
    expected = []
    with bncore.observe(net, LOSS, optimizer, run=tmp_path / "run", probes=probes) as watch:
        for number in range(3):
            if number == 1:
                optimizer.add_param_group({"params": [other]})
            if number == 2:
                optimizer.add_param_group({"params": list(net[1].parameters())})
            x, y = torch.randn(5, 3).double(), torch.randn(5, 2).double()
            with watch.step(x, y) as step:
                net.zero_grad()
                loss = LOSS(net(x) * other, y)
                loss.backward()
                updated = net if number == 2 else net[0]
                expected.append(sum(float((p.grad**2).sum()) for p in updated.parameters()) ** 0.5)
                optimizer.step()
                step.record(loss)
    events = read_events(tmp_path / "run" / "journal.jsonl")
    found = [event["grad_norm"] for event in events if event["type"] == "step"]
    assert found == pytest.approx(expected, rel=1e-12)
