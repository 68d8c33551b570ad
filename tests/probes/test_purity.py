"""Invariant 1 in miniature: observing changes nothing, for probes x norms x noise x optimizers x nets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations, product
from typing import Any

import pytest
import torch
from torch import Tensor

from bncore.config.model import Spec
from bncore.nets import ForwardMode, LayeredNet, build, criterion
from bncore.probes.run import PROBES, Failed, ProbeRunner
from bncore.probes.view import StepView
from bncore.train.optimizer import build_optimizer, set_learning_rate

Case = tuple[str, str, str, str, str]
FACTORS: tuple[tuple[str, ...], ...] = (
    (*PROBES, "landscape/update", "landscape/random", "landscape/hessian", "ics/rescale"),
    (
        "none", "batch", "l1", "l2", "linf", "lp:3", "layer", "group", "instance", "mean_only", "variance_only",
        "batch_detached", "batch_population", "weight",
    ),
    ("off", "after_norm", "before_norm", "input", "last_norm"),
    ("sgd", "momentum", "adam"),
    ("vgg11", "dln", "mlp"),
)  # fmt: skip
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"lr": 0.01},
    "momentum": {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.01},
    "adam": {"kind": "adam", "lr": 0.001, "weight_decay": 0.01},
}
NETS: dict[str, dict[str, Any]] = {
    "vgg11": {"kind": "vgg11", "width": 0.03},
    "dln": {"kind": "dln", "depth": 4, "width": 6},
    "mlp": {"kind": "mlp", "hidden": (6, 5)},
}


def possible(case: Iterable[str]) -> bool:
    """Instance norm has nothing to normalize over in a linear layer."""
    return not ("instance" in case and ("dln" in case or "mlp" in case))


def pairwise() -> list[Case]:
    """Cases such that every two levels of any two factors meet: for each probe under each norm, greedily, the
    one that adds most pairs; then what is still missing."""
    chosen: list[Case] = []
    met: set[tuple[int, str, int, str]] = set()
    groups = [
        [c for c in product([probe], [norm], *FACTORS[2:]) if possible(c)]
        for probe, norm in product(*FACTORS[:2])
    ]
    for group in groups:
        best = max(group, key=lambda case: len(pairs(case) - met))
        chosen.append(best)  # type: ignore[arg-type]
        met |= pairs(best)
    for case in everything():
        if pairs(case) - met:
            chosen.append(case)
            met |= pairs(case)
    return chosen


def pairs(case: Iterable[str]) -> set[tuple[int, str, int, str]]:
    """Every two levels that meet in a case."""
    return {(i, a, j, b) for (i, a), (j, b) in combinations(enumerate(case), 2)}


def everything() -> Iterator[Case]:
    return (case for case in product(*FACTORS) if possible(case))  # type: ignore[misc]


def spec_of(case: Case) -> Spec:
    probe, norm, noise, optimizer, net = case
    name, _, variant = probe.partition("/")
    settings: dict[str, Any] = {"every": 1}
    if variant:
        settings |= {"rescale": 0.01} if variant == "rescale" else {"direction": variant}
    images = net == "vgg11"
    return Spec.model_validate(
        {
            "batch_size": 4,
            "precision": "float32" if images else "float64",
            "data": {"source": "synthetic" if images else "gaussian"},
            "net": NETS[net],
            "norm": {"kind": norm, "groups": 2},
            "noise": {"on": noise != "off", "position": "after_norm" if noise == "off" else noise},
            "loss": {} if images else {"kind": "squared_error"},
            "optim": OPTIMIZERS[optimizer],
            "probes": {
                name: settings,
                "sharpness": {"iterations": 3, **(settings if name == "sharpness" else {})},
            },
        }
    )


def trained(spec: Spec, *, observed: bool) -> tuple[dict[str, Tensor], list[Failed]]:
    """Two steps, and everything that they leave behind; the probes between them, or not."""
    images = spec.net.kind == "vgg11"
    net = build(spec, inputs=(3, 32, 32) if images else (6,), outputs=4)
    optimizer = build_optimizer(spec.optim, list(net.parameters()))
    set_learning_rate(optimizer, spec.optim.lr)
    runner, failures = ProbeRunner(spec), []
    torch.manual_seed(5)
    for step in range(2):
        view = one_step(spec, net, optimizer, step)
        if observed:
            failures += [result for result in runner.measure(view) if isinstance(result, Failed)]
    assert net.training
    return everything_of(net, optimizer), failures


def one_step(spec: Spec, net: LayeredNet, optimizer: torch.optim.Optimizer, step: int) -> StepView:
    """An update on random samples, seen."""
    drawn = torch.Generator().manual_seed(step)
    dtype = next(net.parameters()).dtype
    inputs = torch.randn((4, *net.inputs), generator=drawn, dtype=dtype)
    targets = torch.randn(4, 4, generator=drawn, dtype=dtype) if inputs.ndim == 2 else torch.arange(4)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    buffers = {name: b.clone() for name, b in net.named_buffers()}
    measure = criterion(spec.loss)
    optimizer.zero_grad(set_to_none=True)
    loss = measure(net(inputs, ForwardMode(track=True, noise_step=step)), targets)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    grads = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    return StepView(
        step, spec.seed, net, measure, inputs, targets, before, buffers, grads, loss.item(), spec.optim.lr
    )


def everything_of(net: LayeredNet, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = {f"net.{k}": v.clone() for k, v in net.state_dict().items()}
    state |= {f"grad.{n}": p.grad.clone() for n, p in net.named_parameters() if p.grad is not None}
    for i, slots in optimizer.state_dict()["state"].items():
        state |= {f"optimizer.{i}.{k}": v.clone() for k, v in slots.items() if isinstance(v, Tensor)}
    return {**state, "generator": torch.get_rng_state()}


def check(case: Case) -> None:
    spec = spec_of(case)
    alone, _ = trained(spec, observed=False)
    watched, failures = trained(spec, observed=True)
    assert alone.keys() == watched.keys()
    assert [name for name in alone if not torch.equal(alone[name], watched[name])] == []
    if case[0] != "theory":  # the theorems speak of batch normalization alone
        assert failures == []


@pytest.mark.parametrize("case", pairwise(), ids="-".join)
def test_observing_changes_nothing(case: Case) -> None:
    check(case)


@pytest.mark.slow
@pytest.mark.parametrize("net", FACTORS[4])
@pytest.mark.parametrize("norm", FACTORS[1])
@pytest.mark.parametrize("probe", FACTORS[0])
def test_observing_changes_nothing_anywhere(probe: str, norm: str, net: str) -> None:
    for noise, optimizer in product(FACTORS[2], FACTORS[3]):
        case = (probe, norm, noise, optimizer, net)
        if possible(case):
            check(case)


def test_a_probe_that_moved_running_statistics_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/explanation/paper.md, section 5, mistake 3."""
    quiet = StepView.how
    monkeypatch.setattr(StepView, "how", property(lambda view: ForwardMode(track=True, noise_step=view.step)))
    assert quiet is not StepView.how
    with pytest.raises(AssertionError, match="running_mean"):
        check(("landscape", "batch", "off", "sgd", "mlp"))
