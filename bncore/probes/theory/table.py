"""The theorems on small networks, before and after training, with the error in each precision.

It also has a single neuron for which Lemma 4.5's claim is false, after Dannemann & Junike (arXiv 2502.17913).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

import torch
from torch import Tensor

from bncore.config.model import DLN, MLP, VGG, GaussianData, Loss, Spec
from bncore.config.probes import Theory
from bncore.nets import ForwardMode, LayeredNet, build, criterion
from bncore.probes.theory.identities import lemma_45
from bncore.probes.theory.probe import TheoryProbe, relative
from bncore.probes.view import StepView
from bncore.random import generator

HOLDS = 1e-9
"""Relative error in float64 up to which a statement counts as true; rounding accounts for about 1e-15."""
SAMPLES = 32
PRECISIONS = (torch.float32, torch.float64)
Sides = tuple[Any, Any]
"""Left and right sides, one number per layer each."""
STATEMENTS: dict[str, tuple[Literal["=", "<="], str, str]] = {
    "Thm 4.1 corrected": ("=", "lipschitz_left", "lipschitz_corrected"),
    "Thm 4.1 as printed": ("<=", "lipschitz_left", "lipschitz_printed"),
    "Thm 4.2": ("=", "hessian_left", "hessian_right"),
    "Thm 4.4 corrected": ("<=", "worst_actual", "worst_bound"),
}
"""Statements about a layer: the relation, and the names of both sides in the theory probe's event."""


@dataclass(frozen=True)
class TheoryRow:
    """One statement checked on the layers of one network."""

    statement: str
    network: str
    state: str  # "random", "trained" or "counter-example"
    relation: Literal["=", "<="]
    checked: int  # number of layers
    failed: int  # number of layers for which it is false in float64
    error32: float  # largest |left - right| / left for "=", or max(left - right, 0) / left for "<="
    error64: float


@dataclass(frozen=True)
class _Case:
    """A network of the table, with its data and learning rate."""

    title: str
    spec: Spec
    inputs: tuple[int, ...]
    outputs: int
    lr: float


def _cases(seed: int) -> list[_Case]:
    regression = Loss(kind="squared_error", reduction="mean")
    common: dict[str, Any] = {"seed": seed, "precision": "float64"}
    gaussian = {"data": GaussianData(samples=SAMPLES), "batch_size": "full", "loss": regression, **common}
    return [
        _Case("mlp 64-64", Spec(net=MLP(hidden=(64, 64)), **gaussian), (20,), 5, 0.1),
        _Case("dln, 25 layers", Spec(net=DLN(), **gaussian), (10,), 10, 0.01),
        _Case("vgg11, width 1/16", Spec(net=VGG(kind="vgg11", width=1 / 16), **common), (3, 32, 32), 10, 0.1),
    ]


def theory_table(
    *, seed: int = 0, steps: int = 50, on_progress: Callable[[str, int, int], object] = lambda *_: None
) -> list[TheoryRow]:
    """Theorems 4.1, 4.2 and 4.4 and Lemma 4.5 on three BatchNorm networks, and the lemma's counterexample.

    Arguments:
        seed: seed of the initialization and the Gaussian data.
        steps: steps of full-batch gradient descent between "random" and "trained".
        on_progress: called with the name of the next part, the number of parts done and the total.
    """
    rows, cases, done = [], _cases(seed), count()

    def begin(part: str) -> None:
        on_progress(part, next(done), 4 * len(cases) + 1)

    for case in cases:
        begin(f"{case.title}: random")
        x, targets = _data(case)
        start = build(case.spec, inputs=case.inputs, outputs=case.outputs)
        rows += _rows(case, "random", start, x, targets)
        begin(f"{case.title}: training")
        end = _trained(start, case, x, targets, steps)
        begin(f"{case.title}: trained")
        rows += _rows(case, "trained", end, x, targets)
        begin(f"{case.title}: Lemma 4.5")
        rows.append(_lemma_row(case, start, end))
    begin("the lemma's counter-example")
    sides = {dtype: counter_example(dtype) for dtype in PRECISIONS}
    return [*rows, _row("Lemma 4.5 claim, at an optimum", "one neuron", "counter-example", "<=", sides)]


def _data(case: _Case) -> tuple[Tensor, Tensor]:
    source = generator(case.spec.seed, "data")
    x = torch.randn(SAMPLES, *case.inputs, generator=source, dtype=torch.float64)
    if case.spec.loss.kind == "cross_entropy":
        return x, torch.randint(case.outputs, (SAMPLES,), generator=source)
    teacher = torch.randn(case.inputs[0], case.outputs, generator=source, dtype=torch.float64)
    return x, x @ teacher


def _trained(net: LayeredNet, case: _Case, x: Tensor, targets: Tensor, steps: int) -> LayeredNet:
    net, measure = copy.deepcopy(net), criterion(case.spec.loss)
    trained = list(net.active_parameters().values())
    for _ in range(steps):
        slopes = torch.autograd.grad(measure(net(x, ForwardMode()), targets), trained)
        with torch.no_grad():
            for parameter, slope in zip(trained, slopes, strict=True):
                parameter.sub_(slope, alpha=case.lr)
    return net


def _rows(case: _Case, state: str, net: LayeredNet, x: Tensor, targets: Tensor) -> list[TheoryRow]:
    events = {}
    for precision in PRECISIONS:
        there = targets if case.spec.loss.kind == "cross_entropy" else targets.to(precision)
        view = _view(case, copy.deepcopy(net).to(precision), x.to(precision), there)
        event = TheoryProbe(Theory(neurons=0)).measure(view)
        right = event["hessian_quadratic"] - event["hessian_correction"]
        events[precision] = event | {"hessian_right": right}
    return [
        _row(statement, case.title, state, relation, {d: (event[a], event[b]) for d, event in events.items()})
        for statement, (relation, a, b) in STATEMENTS.items()
    ]


def _row(
    statement: str, network: str, state: str, relation: Literal["=", "<="], sides: Mapping[torch.dtype, Sides]
) -> TheoryRow:
    narrow, exact = (
        [_error(float(a), float(b), relation) for a, b in zip(*sides[dtype], strict=True)]
        for dtype in PRECISIONS
    )
    failed = sum(error > HOLDS for error in exact)
    return TheoryRow(statement, network, state, relation, len(exact), failed, max(narrow), max(exact))


def _error(left: float, right: float, relation: str) -> float:
    gap = abs(left - right) if relation == "=" else max(left - right, 0.0)
    return relative(gap, abs(left))


def _view(case: _Case, net: LayeredNet, x: Tensor, targets: Tensor) -> StepView:
    before = {name: p.detach() for name, p in net.named_parameters()}
    measure = criterion(case.spec.loss)
    trained = net.active_parameters()
    loss = measure(net(x, ForwardMode()), targets)
    grads = dict(zip(trained, torch.autograd.grad(loss, list(trained.values())), strict=True))
    buffers = dict(net.named_buffers())
    return StepView(0, case.spec.seed, net, measure, x, targets, before, buffers, grads, loss.item(), case.lr)


def _lemma_row(case: _Case, start: LayeredNet, end: LayeredNet) -> TheoryRow:
    sides: dict[torch.dtype, Sides] = {}
    for precision in PRECISIONS:
        seen = [
            lemma_45(a.weight.to(precision), b.weight.to(precision))
            for a, b in zip(start.layers, end.layers, strict=True)
        ]
        left, right = zip(*seen, strict=True)
        sides[precision] = left, right
    return _row("Lemma 4.5 algebra, at k W*", case.title, "trained", "=", sides)


INPUTS = ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0))
TARGETS = (2.0, 0.0, 3.0)
"""t = 3 x_1 + x_2 - 1 exactly. The neuron has no bias, and BatchNorm removes the mean: its optima are the positive
multiples of (3, 1). The only optimum of the plain neuron is W* = (7/3, 1/3)."""
OPTIMUM = (3.0, 1.0)
"""An optimum of the neuron with BatchNorm; the optima are exactly its positive multiples."""


def counter_example(dtype: torch.dtype = torch.float64) -> Sides:
    """The sides of Lemma 4.5 where it is false, one number each: ||W_0 - W_hat*||^2 > the lemma's bound.

    One linear neuron, identity activation, squared loss 1/2 sum (output - target)^2, gamma = 1, beta = 0. W_0 is
    W* itself, the optimum without BatchNorm. The bound is then 0, so the BatchNorm neuron would have to have an
    optimum there; W_hat* is the closest that it has.
    """
    x, t = torch.tensor(INPUTS, dtype=dtype), torch.tensor(TARGETS, dtype=dtype)
    initial = torch.linalg.lstsq(x, t[:, None]).solution[:, 0]
    ray = torch.tensor(OPTIMUM, dtype=dtype)
    closest = ray * (initial @ ray) / (ray @ ray)
    return [(initial - closest).square().sum()], [lemma_45(initial, initial)[1]]
