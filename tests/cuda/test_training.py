"""The invariants on a GPU: `pytest -m cuda` there. BNRUN_TEST_DEVICE=cpu tries the tests themselves elsewhere."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from resume.factories import Updates, digest, events, make_run, states, story, train
from train.tape import Taping

from bncore.config.model import (
    DLN,
    VGG,
    Checkpoints,
    Evaluation,
    GaussianData,
    ImageData,
    Loss,
    Noise,
    Norm,
    Optim,
    Spec,
)
from bncore.config.probes import Activations, Ics, Landscape, Probes, Sharpness
from bncore.data.resident import load
from bncore.probes import growing
from bncore.probes.growing import growing_batch
from bncore.probes.ics import layerwise_gradients
from bncore.probes.probe_graphs import ProbeGraphs
from bncore.probes.run import PROBES, Failed, Measured, ProbeRunner
from bncore.recorder import CudaRecorder
from bncore.store import commands, requests
from bncore.store.paths import RunDir
from bncore.train.state import TrainState
from bncore.train.step_graphs import graphs_of

DEVICE = os.environ.get("BNRUN_TEST_DEVICE", "cuda")

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="no GPU here"),
]

OBSERVED = Probes(
    ics=Ics(every=5, floor_every=2),
    landscape=Landscape(every=5),
    activations=Activations(every=5),
    sharpness=Sharpness(every=15, iterations=5),
)


def vgg(**changes: Any) -> Spec:
    """A small VGG on the synthetic images, with noise, momentum and weight decay."""
    spec = Spec(
        steps=30,
        batch_size=32,
        device=DEVICE,
        threads=1,
        data=ImageData(source="synthetic", augment=True),
        net=VGG(kind="vgg11", width=0.25),
        norm=Norm(kind="batch"),
        noise=Noise(on=True),
        optim=Optim(lr=0.05, momentum=0.9, weight_decay=5e-4),
        eval=Evaluation(every=10, train_samples=100, test_samples=100, batch_size=100),
        checkpoint=Checkpoints(every_steps=7, every_minutes=0),
    )
    return spec.model_copy(update=changes)


def dln(**changes: Any) -> Spec:
    """A deep linear network, at full batch."""
    spec = Spec(
        steps=60,
        batch_size="full",
        device=DEVICE,
        threads=1,
        data=GaussianData(samples=64, features=8),
        net=DLN(depth=6, width=8),
        norm=Norm(kind="batch", bias=False),
        loss=Loss(kind="squared_error", reduction="half_sum"),
        optim=Optim(lr=1e-3),
        eval=Evaluation(every=20),
        checkpoint=Checkpoints(every_steps=7, every_minutes=0),
    )
    return spec.model_copy(update=changes)


SPECS = {
    "vgg": vgg(),
    "vgg l1": vgg(norm=Norm(kind="l1")),
    "vgg l1 fused": vgg(norm=Norm(kind="l1", fused=True)),
    "vgg lp:3 fused": vgg(norm=Norm(kind="lp:3", fused=True)),
    "vgg none": vgg(norm=Norm(kind="none"), noise=Noise()),
    "vgg adam": vgg(optim=Optim(kind="adam", lr=1e-3)),
    "vgg tf32": vgg(precision="tf32"),
    "vgg bfloat16": vgg(precision="bfloat16"),
    "dln": dln(),
    "dln float64": dln(precision="float64"),
}


if DEVICE == "cpu":  # which has neither
    del SPECS["vgg tf32"], SPECS["vgg l1 fused"], SPECS["vgg lp:3 fused"]

WITHOUT: Updates = "fused" if DEVICE == "cpu" else ""
BY_GRAPHS: Updates = "graphs" if DEVICE == "cpu" else ""
"""How steps are made with and without graphs; on a CPU, tapes stand in for them."""


def finished(path: Path, spec: Spec, *, ahead: int = 64) -> RunDir:
    run = make_run(path, spec)
    assert train(run, ahead=ahead, updates=WITHOUT) == 0, run.log_file.read_text()
    return run


def by_graphs(spec: Spec) -> Spec:
    return spec.model_copy(update={"cuda_graphs": True})


@pytest.mark.parametrize("name", SPECS)
def test_the_same_run_twice_is_the_same(tmp_path: Path, name: str) -> None:
    one, other = finished(tmp_path / "one", SPECS[name]), finished(tmp_path / "other", SPECS[name])
    assert (digest(one), story(one)) == (digest(other), story(other))


@pytest.mark.parametrize("name", SPECS)
def test_steps_made_ahead_are_those_made_singly(tmp_path: Path, name: str) -> None:
    ahead = finished(tmp_path / "ahead", SPECS[name])
    singly = finished(tmp_path / "singly", SPECS[name], ahead=1)
    assert (digest(ahead), story(ahead), states(ahead)) == (digest(singly), story(singly), states(singly))


@pytest.mark.parametrize("name", SPECS)
def test_observing_changes_nothing(tmp_path: Path, name: str) -> None:
    plain = finished(tmp_path / "plain", SPECS[name])
    observed = finished(tmp_path / "observed", SPECS[name].model_copy(update={"probes": OBSERVED}))
    assert digest(plain) == digest(observed)
    assert not [event for event in events(observed) if event["type"] == "probe_failed"]
    assert [event for event in events(observed) if event["type"] == "probe"]


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("point", ["journal.half:25", "checkpoint.half:2"])
def test_a_killed_run_ends_as_if_it_had_not_been(tmp_path: Path, name: str, point: str) -> None:
    spec = SPECS[name].model_copy(update={"probes": OBSERVED})
    twin, run = finished(tmp_path / "twin", spec), make_run(tmp_path / "run", spec)
    assert train(run, failpoint=point, ahead=64, updates=WITHOUT) == -signal.SIGKILL
    assert train(run, ahead=64, updates=WITHOUT) == 0
    assert (digest(run), story(run)) == (digest(twin), story(twin))


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("probes", [Probes(), OBSERVED], ids=["plain", "observed"])
def test_steps_by_graphs_are_those_made_without(tmp_path: Path, name: str, probes: Probes) -> None:
    spec = SPECS[name].model_copy(update={"probes": probes})
    without, run = finished(tmp_path / "without", spec), make_run(tmp_path / "graphs", by_graphs(spec))
    assert train(run, ahead=64, updates=BY_GRAPHS) == 0
    assert (digest(run), story(run), states(run)) == (digest(without), story(without), states(without))
    assert "no CUDA graph" not in run.log_file.read_text()


def test_graphs_follow_what_changes_in_mid_run_and_survive_a_kill(tmp_path: Path) -> None:
    requested: dict[int, dict[str, Any]] = {
        6: {"noise.on": False},
        12: {"norm.kind": "batch"},
        13: {"optim.lr": 0.01},
        40: {"noise.on": True, "noise.n_mu": 0.1},
        50: {"norm.kind": "l1"},
    }
    start = vgg(steps=70, norm=Norm(kind="none"), probes=OBSERVED)
    runs = []
    for name, spec in (("without", start), ("graphs", by_graphs(start)), ("killed", by_graphs(start))):
        run = make_run(tmp_path / name, spec)
        for step, changes in requested.items():
            requests.send_request(run, commands.Set(changes=changes, at_step=step))
        updates = WITHOUT if name == "without" else BY_GRAPHS
        if name == "killed":
            assert train(run, ahead=64, updates=updates, failpoint="journal.half:60") == -signal.SIGKILL
        assert train(run, ahead=64, updates=updates) == 0, run.log_file.read_text()
        runs.append((digest(run), story(run), states(run)))
    assert runs[0] == runs[1] == runs[2]


def test_graphs_are_really_used() -> None:
    spec = by_graphs(vgg())
    session = TrainState(spec, load(spec, DEVICE))
    graphs = graphs_of(session, pytest.fail)
    for step in range(10):
        graphs.update(step, record=True)
    assert graphs.replayed == (8 if DEVICE == "cuda" else 0)


@pytest.mark.parametrize("name", SPECS)
def test_measurements_by_graphs_are_really_used_and_the_same(name: str) -> None:
    every = Probes(ics=Ics(every=1, floor_every=3), landscape=Landscape(every=1, floor_every=4))
    spec = SPECS[name].model_copy(update={"probes": every})
    session = TrainState(spec, load(spec, DEVICE))
    recorder = CudaRecorder(torch.device(DEVICE)) if DEVICE == "cuda" else Taping(session)
    recorded = ProbeGraphs(recorder, pytest.fail)
    plain, by_graph = ProbeRunner(spec), ProbeRunner(spec, recorded)
    for step in range(6):
        session.step(step, observe=True)
        assert session.view is not None
        for one, other in zip(plain.measure(session.view), by_graph.measure(session.view), strict=True):
            assert isinstance(one, Measured) and isinstance(other, Measured)
            assert one.fields.keys() == other.fields.keys()
            for field, value in one.fields.items():
                np.testing.assert_array_equal(value, other.fields[field], err_msg=f"{field} at step {step}")
    assert recorded.replayed >= 6


def test_ics_takes_groups_by_the_memory_that_is_free() -> None:
    if DEVICE != "cuda":
        pytest.skip("needs a GPU's memory")
    spec = dln(net=DLN(depth=25, width=8), noise=Noise(on=True))
    session = TrainState(spec, load(spec, DEVICE))
    session.step(0, observe=True)
    view = session.view
    assert view is not None
    chosen = PROBES["ics"](spec).measure(view)
    assert chosen["budget"] > growing.BUDGET
    one_by_one = PROBES["ics"](spec.model_copy(update={"probes": Probes(ics=Ics(group=1))})).measure(view)
    np.testing.assert_allclose(chosen["l2"], one_by_one["l2"], rtol=1e-3, atol=1e-6)


def test_a_toggle_in_mid_run_is_taken_and_repeated(tmp_path: Path) -> None:
    """A branch that ignores it, as one frozen into a graph would, ends with another digest."""
    plain = finished(tmp_path / "plain", vgg())
    runs = []
    for name, ahead in (("ahead", 64), ("singly", 1)):
        run = make_run(tmp_path / name, vgg())
        requests.send_request(run, commands.Set(changes={"noise.on": False}, at_step=8))
        requests.send_request(run, commands.Set(changes={"norm.kind": "l2", "optim.lr": 0.01}, at_step=15))
        assert train(run, ahead=ahead, updates=WITHOUT) == 0
        runs.append(run)
    assert digest(runs[0]) == digest(runs[1]) != digest(plain)
    losses = [[e["loss"] for e in events(run) if e["type"] == "step"] for run in (plain, runs[0])]
    assert losses[0][:8] == losses[1][:8]
    assert losses[0][9:] != losses[1][9:]


def test_it_diverges_at_the_first_loss_that_is_not_finite(tmp_path: Path) -> None:
    spec = dln(norm=Norm(kind="none", bias=False), optim=Optim(lr=3.0))
    ahead, singly = finished(tmp_path / "ahead", spec), finished(tmp_path / "singly", spec, ahead=1)
    assert events(ahead)[-1]["state"] == "diverged"
    assert (digest(ahead), story(ahead), states(ahead)) == (digest(singly), story(singly), states(singly))


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"] if DEVICE == "cuda" else ["bfloat16"])
def test_a_probe_sees_the_gradient_of_ieee_float32(precision: str) -> None:
    found: dict[str, dict[str, torch.Tensor]] = {}
    for name in (precision, "float64"):
        session = TrainState(vgg(precision=name, noise=Noise()), load(vgg(precision=name)))
        session.step(0, observe=True)
        assert session.view is not None
        found[name] = dict(session.view.grads)
    for name, exact in found["float64"].items():
        distance = (found[precision][name].double() - exact).norm() / exact.norm()
        assert distance < 1e-4, name


@pytest.mark.parametrize("kind", ["batch", "l1", "none"])
def test_ics_by_a_growing_batch_is_that_of_the_definition(kind: str) -> None:
    spec = vgg(precision="float64", norm=Norm(kind=kind))
    session = TrainState(spec, load(spec, DEVICE))
    for step in range(2):
        session.step(step, observe=True)
    view = session.view
    assert view is not None
    layers = range(1, len(view.weights))
    for one, other in zip(
        growing_batch(view, view.after, layers), layerwise_gradients(view, view.after, layers), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def test_a_probe_without_memory_leaves_training_unharmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real exhaustion: ICS of all layers where the device has hardly any room left."""
    if DEVICE != "cuda":
        pytest.skip("needs a GPU's memory")
    spec = vgg(net=VGG(kind="vgg16"), batch_size=128)
    session = TrainState(spec, load(spec, DEVICE))
    session.step(0, observe=True)
    view = session.view
    assert view is not None
    _, total = torch.cuda.mem_get_info()
    monkeypatch.setattr("bncore.probes.ics.BUDGET", 1e9)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + 2**28) / total)
    try:
        runner = ProbeRunner(spec.model_copy(update={"probes": Probes(ics=Ics(every=1, floor_every=0))}))
        (result,) = runner.measure(view)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert isinstance(result, Measured | Failed)
    if isinstance(result, Measured):
        assert result.fields["group"] >= 1
    else:
        assert result.short_of_memory
    assert session.step(1) is not None
