"""Measurements replayed by graphs, tapes in their place: they are those that are made without, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bncore.bench import probes as bench
from bncore.config.change import changed
from bncore.config.model import (
    DLN,
    MLP,
    VGG,
    Evaluation,
    GaussianData,
    ImageData,
    Loss,
    Noise,
    Norm,
    Optim,
    Schedule,
    Spec,
)
from bncore.config.probes import Activations, Ics, Landscape, Probes
from bncore.data.resident import load
from bncore.nets import ForwardMode
from bncore.probes.base import Probe
from bncore.probes.probe_graphs import ProbeGraphs
from bncore.probes.run import PROBES, Failed, Measured, ProbeRunner
from bncore.train.state import TrainState
from train.factories import TOGGLES, settings_of
from train.tape import Taping

BOTH = Probes(
    ics=Ics(every=1, floor_every=3),
    landscape=Landscape(every=1, floor_every=4, multiples=(0.5, 2.0), loss_multiples=(1.0,)),
    activations=Activations(every=1, bins=8),
)
SMALL = Spec(
    steps=40,
    batch_size=8,
    device="cpu",
    threads=1,
    data=ImageData(source="synthetic", augment=True),
    net=MLP(hidden=(8, 8, 8)),
    norm=Norm(kind="batch"),
    noise=Noise(on=True),
    optim=Optim(lr=0.02, momentum=0.9, weight_decay=0.01, schedule=Schedule(kind="cosine")),
    probes=BOTH,
)
"""With everything that differs from step to step: batch, crops, noise, rate, and every second floor."""
LINEAR: dict[str, Any] = {
    "batch_size": "full",
    "precision": "float64",
    "data": GaussianData(samples=64, features=4),
    "net": DLN(depth=5, width=4),
    "loss": Loss(kind="squared_error", reduction="half_sum"),
    "optim": Optim(lr=1e-3, schedule=Schedule(kind="cosine")),
}


def landscape(**settings: Any) -> dict[str, Any]:
    return {"probes": Probes(landscape=Landscape.model_validate({"every": 1, **settings}))}


SPECS: dict[str, dict[str, Any]] = {
    "perceptron": {},
    "convolutions": {"net": VGG(kind="vgg11", width=0.05)},
    "convolutions, l1": {"net": VGG(kind="vgg11", width=0.05), "norm": Norm(kind="l1")},
    "linear, by moments": {**LINEAR, "noise": Noise()},
    "linear, noise": LINEAR,
    "none": {"norm": Norm(kind="none"), "noise": Noise()},
    "linf, centred": {"norm": Norm(kind="linf", centred=True)},
    "weight": {"norm": Norm(kind="weight")},
    "statistics of the past": {"norm": Norm(kind="batch_population")},
    "relative noise on the input": {"noise": Noise(on=True, position="input", amplitude="relative")},
    "bfloat16": {"precision": "bfloat16"},
    "two layers, penalty, equal lengths": {
        "probes": Probes(ics=Ics(every=1, layers=(2, 3), penalty=True, rescale=0.01))
    },
    "group of one": {"probes": Probes(ics=Ics(every=1, group=1))},
    "along the update": landscape(direction="update"),
    "along a random direction": landscape(direction="random"),
    "along the top eigenvector": landscape(direction="hessian"),
    "with the penalty": landscape(penalty=True),
    "with the penalty of the weights": {
        **landscape(penalty=True, direction="update"),
        "optim": Optim(lr=0.02, weight_decay=0.01, decay="weights"),
    },
}


class Pair:
    """One session, watched by probes that measure anew and by probes whose measurements are recorded."""

    def __init__(self, spec: Spec, recorder: type[Taping] = Taping) -> None:
        self.session = TrainState(spec, load(spec))
        self.reasons: list[str] = []
        self.recorder = recorder(self.session)
        self.recorded = ProbeGraphs(self.recorder, self.reasons.append)
        self.plain, self.other = ProbeRunner(spec), ProbeRunner(spec, self.recorded)
        self.at = 0

    def steps(self, count: int) -> None:
        """Make some steps, each measured the same on either side."""
        for step in range(self.at, self.at + count):
            self.session.step(step, observe=True)
            view = self.session.view
            assert view is not None
            read = {**view.before, **{f"grad {name}": g for name, g in view.grads.items()}}
            before = [t.clone() for t in (view.inputs, *self.session.tensors(), *read.values())]
            for one, other in zip(self.plain.measure(view), self.other.measure(view), strict=True):
                assert_same(one, other, step)
            after = [view.inputs, *self.session.tensors(), *read.values()]
            assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True)), step
        self.at += count

    def change(self, **changes: Any) -> None:
        dotted = {name.replace("__", "."): value for name, value in changes.items()}
        spec = changed(self.session.spec, dotted)
        self.session.change(spec)
        self.plain.change(spec)
        self.other.change(spec)


def assert_same(one: Measured | Failed, other: Measured | Failed, step: int) -> None:
    assert isinstance(one, Measured), one
    assert isinstance(other, Measured), other
    assert one.fields.keys() == other.fields.keys()
    for name, value in one.fields.items():
        same = np.asarray(value), np.asarray(other.fields[name])
        assert same[0].dtype == same[1].dtype, (step, name)
        np.testing.assert_array_equal(*same, err_msg=f"{one.name}.{name} at step {step}", strict=True)


@pytest.mark.parametrize("name", SPECS)
def test_measurements_by_a_graph_are_the_same_to_the_bit(name: str) -> None:
    pair = Pair(SMALL.model_copy(update=SPECS[name]))
    pair.steps(7)
    assert pair.reasons == []
    assert pair.recorded.replayed >= 5


@pytest.mark.parametrize("change", [*TOGGLES, {"norm__kind": "batch_population"}], ids=str)
def test_a_change_in_mid_run_is_followed_there_and_back(change: dict[str, Any]) -> None:
    pair = Pair(SMALL)
    pair.steps(4)
    before = pair.recorded.replayed
    pair.change(**change)
    pair.steps(4)
    between = pair.recorded.replayed
    pair.change(**settings_of(SMALL, change))
    pair.steps(4)
    assert 0 < before < between < pair.recorded.replayed
    assert pair.reasons == []


@pytest.mark.parametrize("change", [{"norm__kind": "l1"}, {"noise__n_mu": 0.1}], ids=str)
def test_a_graph_that_missed_a_change_would_be_noticed(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    monkeypatch.setattr(ProbeGraphs, "forget", lambda self: None)
    pair = Pair(SMALL)
    pair.steps(4)
    pair.change(**change)
    with pytest.raises(AssertionError, match="at step 4"):
        pair.steps(1)


def test_noise_in_other_memory_is_recorded_again() -> None:
    pair = Pair(SMALL.model_copy(update={"noise": Noise(on=True, in_eval=True), "eval": Evaluation()}))
    pair.steps(4)
    recorded = pair.recorder.recorded
    pair.session.outputs(torch.randn(50, 3, 32, 32), ForwardMode(training=False, noise_step=4))
    pair.steps(3)
    assert pair.recorder.recorded == 2 * recorded
    assert pair.reasons == []


def test_a_group_that_shrinks_is_another_graph() -> None:
    pair = Pair(SMALL)
    pair.steps(3)
    for runner in (pair.plain, pair.other):
        assert runner._probes["ics"].reduce_memory()
    pair.steps(3)
    assert pair.reasons == []


class Wrong(Taping):
    """A recorder whose measurements are not quite the same."""

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        replay, result = super().record(work)

        def nearly() -> None:
            replay()
            result[0] += 1e-7

        return nearly, result


class Broken(Taping):
    """A recorder that fails."""

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        raise RuntimeError("operation not permitted when stream is capturing\nand a long story")


class Short(Taping):
    """A recorder without memory."""

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize(
    ("recorder", "reason"),
    [(Wrong, "not the same to the bit"), (Broken, "stream is capturing"), (Short, "CUDA out of memory")],
)
def test_without_a_graph_that_can_be_trusted_there_is_none(recorder: type[Taping], reason: str) -> None:
    pair = Pair(SMALL, recorder)
    pair.steps(5)
    assert pair.recorded.replayed == 0
    assert len(pair.reasons) == 2  # one a probe, not at every measurement
    assert all(reported.endswith(reason) and "of step 1:" in reported for reported in pair.reasons)


def test_where_memory_is_short_graphs_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """A measurement that finds no memory: what the graphs hold is given back before it is tried with less."""
    pair = Pair(
        SMALL.model_copy(update={"probes": Probes(ics=Ics(every=1), activations=Activations(every=1))})
    )
    pair.steps(3)
    assert pair.recorded._kept
    measure: Callable[[Probe, Any], dict[str, Any]] = type(pair.other._probes["activations"]).measure
    tried: list[int] = []

    def exhausted(probe: Probe, view: Any) -> dict[str, Any]:
        tried.append(len(pair.recorded._kept))
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(type(pair.other._probes["activations"]), "measure", exhausted)
    pair.session.step(3, observe=True)
    assert pair.session.view is not None
    results = list(pair.other.measure(pair.session.view))
    assert [isinstance(one, Failed) and one.short_of_memory for one in results] == [False, True]
    assert tried == [1]
    assert not pair.recorded._kept
    monkeypatch.setattr(type(pair.other._probes["activations"]), "measure", measure)
    list(pair.plain.measure(pair.session.view))
    pair.at = 4
    pair.plain.load_state_dict(pair.other.state_dict())
    pair.steps(4)
    assert pair.recorded._kept


def test_the_bench_times_measurements_by_a_graph_or_says_why_not() -> None:
    session, view = bench.observed(SMALL)
    probe = PROBES["ics"](SMALL.model_copy(update={"probes": Probes(ics=Ics(floor_every=0))}))
    works = bench.by_a_graph(Taping(session), "ics", probe, view)
    assert set(works) == {"graph"}
    measured = works["graph"]()
    assert isinstance(measured, dict)
    np.testing.assert_array_equal(measured["l2"], probe.measure(view)["l2"])
    with pytest.warns(UserWarning, match="stream is capturing"):
        assert bench.by_a_graph(Broken(session), "ics", probe, view) == {}
