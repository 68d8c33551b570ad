"""`bnrun bench ics` and `bench landscape`: what a measurement costs, in plain training steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from statistics import median

import torch
from torch import Tensor

from bncore.bench.measure import Row, Work, peak_bytes, seconds
from bncore.bench.train import dln_spec, vgg_spec
from bncore.data import load
from bncore.nets import LayeredNet
from bncore.probes.base import Probe
from bncore.probes.growing import output_sizes
from bncore.probes.ics import Ics
from bncore.probes.landscape import Curvature, Landscape
from bncore.probes.view import StepView
from bncore.spec.model import Spec
from bncore.train.session import Session

KINDS = ("vgg11", "vgg16", "dln")
ICS_BARS = {"vgg11": 2.8, "vgg16": 3.7, "dln": 8.0}
"""Steps that ICS of all layers may take, batch-normalised at the paper's size."""
LANDSCAPE_BAR = 4.4
"""Steps that four multiples may take."""
MULTIPLES = (0.5, 1.0, 2.0, 4.0)
MEMORY_BAR = 2.5
"""Peaks of a training step that a probe may take."""


def bench_ics(
    kinds: Sequence[str] = KINDS, *, norms: Sequence[str] = ("batch", "none"), repeats: int = 5,
    device: str = "cpu", naive: bool = True,
) -> Iterator[Row]:  # fmt: skip
    """ICS of all layers beside the definition taken literally, one pass a layer; the noise floor apart.

    Arguments:
        kinds: of `KINDS`.
        repeats: interleaved; medians are given.
        naive: whether to time the literal evaluation, which takes longest.
    """
    for kind in kinds:
        for norm in norms:
            spec = _spec(kind, norm, device)
            session, view = observed(spec)
            probe = Ics(layers=(), group=0, floor_every=0, penalty=False, rescale=0.0, loss=spec.loss)
            works = _works(session, view, probe)
            if naive:
                works["naive"] = partial(naive_ics, view)
            bar = f"<= {ICS_BARS[kind]} steps" if norm == "batch" else "no bar"
            products = f"{operations(view.net):.1f} by products"
            yield from _rows(f"{kind} {norm}: ICS", works, repeats, device, f"{bar}; {products}")


def bench_landscape(
    kinds: Sequence[str] = KINDS, *, norms: Sequence[str] = ("batch", "none"), repeats: int = 5,
    device: str = "cpu", naive: bool = True,
) -> Iterator[Row]:  # fmt: skip
    """The landscape of four multiples beside one that copies the network for each; arguments as `bench_ics`."""
    for kind in kinds:
        for norm in norms:
            session, view = observed(_spec(kind, norm, device))
            probe = Landscape(
                multiples=MULTIPLES, loss_multiples=(), direction="gradient", floor_every=0,
                curvature=Curvature(1, 1.0),
            )  # fmt: skip
            works = _works(session, view, probe)
            if naive:
                works["naive"] = partial(naive_landscape, view, MULTIPLES)
            yield from _rows(f"{kind} {norm}: landscape", works, repeats, device, f"<= {LANDSCAPE_BAR} steps")


def observed(spec: Spec) -> tuple[Session, StepView]:
    """A session and the view of its first step. The live parameters go on moving; that changes no cost."""
    session = Session(spec, load(spec, spec.device))
    session.step(0, observe=True)
    assert session.view is not None
    return session, session.view


def operations(net: LayeredNet) -> float:
    """Multiplications of an ICS of all layers but the first, in those of a training step.

    A layer's product costs as much forwards as for either gradient. The prefix is forwards; chain i is
    forwards from layer i on, backwards to layer i + 1, and a weight gradient at i. A training step has no
    gradient with respect to the network's input.
    """
    costs = [
        layer.weight.numel() * size / layer.weight.shape[0]
        for layer, size in zip(net.layers, output_sizes(net), strict=True)
    ]
    prefix = sum(costs[:-1])
    chains = sum(2 * sum(costs[i:]) for i in range(1, len(costs)))
    return (prefix + chains) / (3 * sum(costs) - costs[0])


def naive_ics(view: StepView) -> list[dict[str, Tensor]]:
    """What one writes first: for each layer the whole network's gradient, of which one layer's is wanted."""
    found = []
    for index in range(1, len(view.net.layers)):
        mixed = {
            name: (view.after if view.layer_of(name) < index else view.before)[name] for name in view.before
        }
        found.append({f"layers.{index}.weight": view.gradient_at(mixed)[1][f"layers.{index}.weight"]})
    return found


def naive_landscape(view: StepView, multiples: Sequence[float]) -> dict[str, list[float]]:
    """What one writes first: a state dict of copies, a step of the parameters, numbers one by one."""
    found: dict[str, list[float]] = {"loss": [], "grad_diff": [], "cosine": []}
    flat = torch.cat([g.flatten() for g in view.grads.values()])
    for multiple in multiples:
        moved = {name: t.clone() for name, t in view.before.items()}
        for name, g in view.grads.items():
            moved[name] = moved[name] - multiple * view.lr * g
        loss, grads = view.gradient_at(moved)
        there = torch.cat([g.flatten() for g in grads.values()])
        found["loss"].append(loss.item())
        found["grad_diff"].append((there - flat).norm().item())
        found["cosine"].append(torch.nn.functional.cosine_similarity(there, flat, dim=0).item())
    return found


def _spec(kind: str, norm: str, device: str) -> Spec:
    if kind == "dln":
        return dln_spec(norm=norm, device=device)
    return vgg_spec(kind, norm=norm, device=device)


def _works(session: Session, view: StepView, probe: Probe) -> dict[str, Work]:
    steps = count(1)

    def floor() -> None:
        view.__dict__.pop("reordered_grads", None)  # what the view has cached
        _ = view.reordered_grads

    return {
        "step": lambda: session.step(next(steps), record=False),
        "probe": lambda: probe.measure(view),
        "floor": floor,
    }


def _rows(name: str, works: Mapping[str, Work], repeats: int, device: str, bar: str) -> Iterator[Row]:
    """Times in steps, round by round, and peak memory."""
    rounds: dict[str, list[float]] = {key: [] for key in works}
    for work in works.values():
        seconds(work, device)
    for _ in range(repeats):
        took = {key: seconds(work, device) for key, work in works.items()}
        for key, value in took.items():
            rounds[key].append(value / took["step"])
    steps = {key: median(values) for key, values in rounds.items()}
    naive = steps.get("naive", math.nan)
    yield Row(name, steps["probe"], naive, naive / steps["probe"], bar, "steps")
    yield Row(f"{name}, noise floor", steps["floor"], math.nan, math.nan, "counted apart", "steps")
    mine, plain = (peak_bytes(works[key], device) / 2**20 for key in ("probe", "step"))
    yield Row(
        f"{name}, peak memory by a step's", mine, plain, mine / plain, f"<= {MEMORY_BAR} of a step's", "MiB"
    )
