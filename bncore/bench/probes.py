"""`bnrun bench ics` and `bench landscape`: cost of a measurement, in plain training steps."""

from __future__ import annotations

import math
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from statistics import median

import torch
from torch import Tensor

from bncore.bench.timing import Row, Work, peak_bytes, products_per_second, seconds
from bncore.bench.train import spec_of
from bncore.config.model import Spec
from bncore.config.probes import Ics, Landscape, Sharpness
from bncore.data.resident import load
from bncore.nets import LayeredNet
from bncore.probes.base import Probe
from bncore.probes.growing import output_sizes
from bncore.probes.ics import IcsProbe
from bncore.probes.landscape import LandscapeProbe
from bncore.probes.moments import moments_suffice, with_few_samples
from bncore.probes.probe_graphs import ProbeGraphs
from bncore.probes.view import StepView
from bncore.recorder import CudaRecorder, Recorder
from bncore.train.state import TrainState
from bncore.train.worker import configure_backends

KINDS = ("vgg11", "vgg16", "dln")
NORMS = ("batch", "none")
ICS_BARS = {"vgg11": 2.8, "vgg16": 3.7, "dln": 8.0}
"""Targets for ICS of all layers, in training steps, with BatchNorm at the paper's size."""
LANDSCAPE_BAR = 4.4
"""Target for the landscape at four multiples, in training steps."""
MULTIPLES = (0.5, 1.0, 2.0, 4.0)
MEMORY_BAR = 2.5
"""Target for a probe's peak memory, relative to a training step's peak."""


def bench_ics(
    kinds: Sequence[str] = KINDS, *, repeats: int = 5, device: str = "cpu", naive: bool = True
) -> Iterator[Row]:
    """ICS of all layers compared with the literal definition, one pass per layer; the noise floor separately.

    Arguments:
        kinds: networks from `KINDS`.
        repeats: number of interleaved repeats; medians are reported.
        naive: whether to time the literal evaluation, which takes longest.
    """
    for kind in kinds:
        for norm in NORMS:
            spec = spec_of(kind, norm, device)
            session, view = observed(spec)
            probe = IcsProbe(Ics(floor_every=0), spec.loss)
            works = _works(session, view, "ics", probe, partial(naive_ics, view) if naive else None)
            products = operations(view.net)
            most = 1.25 * products if device != "cpu" else ICS_BARS[kind]
            bar = f"<= {most:.3g} steps" if norm == "batch" else "no bar"
            name = f"{kind} {norm}: ICS"
            took = yield from _rows(name, works, repeats, device, f"{bar}; {products:.1f} by products")
            few = moments_suffice(view.net, spec.loss)
            seen = with_few_samples(view, spec.loss) if few else view
            share = len(seen.inputs) / len(view.inputs)
            yield from _by_the_ceiling(name, view, took, products * share)


def bench_landscape(kinds: Sequence[str] = KINDS, *, repeats: int = 5, device: str = "cpu") -> Iterator[Row]:
    """The landscape at four multiples compared with copying the parameters for each; arguments as in
    `bench_ics`."""
    for kind in kinds:
        for norm in NORMS:
            session, view = observed(spec_of(kind, norm, device))
            probe = LandscapeProbe(Landscape(multiples=MULTIPLES, floor_every=0), Sharpness())
            works = _works(session, view, "landscape", probe, partial(naive_landscape, view, MULTIPLES))
            name = f"{kind} {norm}: landscape"
            took = yield from _rows(name, works, repeats, device, f"<= {LANDSCAPE_BAR} steps")
            yield from _by_the_ceiling(name, view, took, len(MULTIPLES))


def observed(spec: Spec) -> tuple[TrainState, StepView]:
    """A training state and the view of its first step, in the precision that the spec asks for.

    The live parameters keep changing; that affects no cost.
    """
    configure_backends(spec)
    session = TrainState(spec, load(spec, spec.device))
    session.step(0, observe=True)
    assert session.view is not None
    return session, session.view


def by_a_graph(recorder: Recorder, name: str, probe: Probe, view: StepView) -> dict[str, Work]:
    """``graph``: a function that measures by replaying a recorded graph. If no graph can be recorded, empty, with
    a warning."""
    recorded = ProbeGraphs(recorder, warnings.warn)
    for _ in range(3):  # seen, recorded, replayed
        recorded.measure(name, probe, view)
    return {"graph": lambda: recorded.measure(name, probe, view)} if recorded.replayed else {}


def operations(net: LayeredNet) -> float:
    """Multiplications of ICS of all layers but the first, relative to those of a training step.

    A layer's forward product costs as much as either of its gradients. The prefix is a forward pass; chain i is a
    forward pass from layer i on, a backward pass to layer i + 1, and a weight gradient at i.
    """
    costs = _products(net)
    prefix = sum(costs[:-1])
    chains = sum(2 * sum(costs[i:]) for i in range(1, len(costs)))
    return (prefix + chains) / step_products(net)


def step_products(net: LayeredNet) -> float:
    """Multiplications of a training step per sample; no gradient with respect to the inputs is computed."""
    costs = _products(net)
    return 3 * sum(costs) - costs[0]


def _products(net: LayeredNet) -> list[float]:
    """Multiplications of each layer's linear map per sample."""
    return [
        layer.weight.numel() * size / layer.weight.shape[0]
        for layer, size in zip(net.layers, output_sizes(net), strict=True)
    ]


def _by_the_ceiling(name: str, view: StepView, took: Mapping[str, float], steps: float) -> Iterator[Row]:
    """Step and probe compared with the time their products would take at the rate of a large matrix product.

    Arguments:
        took: their median times in seconds.
        steps: products of the probe, relative to those of a training step.
    """
    device = view.inputs.device.type
    rate = products_per_second(view.net.layers[0].weight.dtype, device)
    floor = len(view.inputs) * step_products(view.net) / rate
    rated = f"products at {2e-9 * rate:.4g} GFLOP/s"
    net, probe = name.split(": ")
    yield Row(f"{net}: step, against its products alone", *_against(took["step"], floor), rated)
    yield Row(f"{net}: {probe}, against its products alone", *_against(took["probe"], steps * floor), rated)


def _against(took: float, floor: float) -> tuple[float, float, float]:
    return 1e3 * took, 1e3 * floor, took / floor


def naive_ics(view: StepView) -> list[dict[str, Tensor]]:
    """The naive implementation: per layer, the gradient of the whole network, of which one layer's is used."""
    gradients = []
    for index in range(1, len(view.net.layers)):
        mixed = {
            name: (view.after if view.layer_of(name) < index else view.before)[name] for name in view.before
        }
        gradients.append({f"layers.{index}.weight": view.gradient_at(mixed)[1][f"layers.{index}.weight"]})
    return gradients


def naive_landscape(view: StepView, multiples: Sequence[float]) -> dict[str, list[float]]:
    """The naive implementation: cloned parameters, moved copies, and results read back one by one."""
    fields: dict[str, list[float]] = {"loss": [], "grad_diff": [], "cosine": []}
    flat = torch.cat([g.flatten() for g in view.grads.values()])
    for multiple in multiples:
        moved = {name: t.clone() for name, t in view.before.items()}
        for name, g in view.grads.items():
            moved[name] = moved[name] - multiple * view.lr * g
        loss, grads = view.gradient_at(moved)
        there = torch.cat([g.flatten() for g in grads.values()])
        fields["loss"].append(loss.item())
        fields["grad_diff"].append((there - flat).norm().item())
        fields["cosine"].append(torch.nn.functional.cosine_similarity(there, flat, dim=0).item())
    return fields


def _works(
    session: TrainState, view: StepView, name: str, probe: Probe, naive: Work | None
) -> dict[str, Work]:
    """What is timed: a step, the probe, its noise floor, `naive` if given and, on a GPU, the probe by a graph."""
    steps = count(1)

    def floor() -> None:
        view.__dict__.pop("reordered_grads", None)  # drop the view's cached value
        _ = view.reordered_grads

    works: dict[str, Work] = {
        "step": lambda: session.step(next(steps), record=False),
        "probe": lambda: probe.measure(view),
        "floor": floor,
    }
    works |= {} if naive is None else {"naive": naive}
    on_gpu = view.inputs.is_cuda
    return works | (by_a_graph(CudaRecorder(view.inputs.device), name, probe, view) if on_gpu else {})


def _rows(
    name: str, works: Mapping[str, Work], repeats: int, device: str, bar: str
) -> Generator[Row, None, dict[str, float]]:
    """Yield times in steps, as medians over rounds, and peak memory; return the median times in seconds."""
    rounds: dict[str, list[float]] = {key: [] for key in works}
    for work in works.values():
        seconds(work, device)
    for _ in range(repeats):
        for key, work in works.items():
            rounds[key].append(seconds(work, device))
    steps = {
        key: median(t / step for t, step in zip(times, rounds["step"], strict=True))
        for key, times in rounds.items()
    }
    naive = steps.get("naive", math.nan)
    yield Row(name, steps["probe"], naive, naive / steps["probe"], bar, "steps")
    if "graph" in steps:
        what, faster = f"{name}, by a graph, against none", steps["probe"] / steps["graph"]
        yield Row(what, steps["graph"], steps["probe"], faster, bar, "steps")
    yield Row(f"{name}, noise floor", steps["floor"], math.nan, math.nan, "counted apart", "steps")
    mine, plain = (peak_bytes(works[key], device) / 2**20 for key in ("probe", "step"))
    bar = f"<= {MEMORY_BAR} of a step's"
    yield Row(f"{name}, peak memory by a step's", mine, plain, mine / plain, bar, "MiB")
    return {key: median(times) for key, times in rounds.items()}
