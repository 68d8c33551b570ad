"""Training coarser than float32, and images laid out as a GPU wants them: what probes see is exact."""

from __future__ import annotations

import signal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from cli.factories import bnrun
from resume.factories import digest, make_run, story, train

from bncore.config.base import NORM_KINDS
from bncore.config.model import VGG, Checkpoints, Evaluation, ImageData, Noise, Norm, Optim, Spec
from bncore.config.probes import Activations, Ics, Landscape, Probes
from bncore.data.dataset import Dataset
from bncore.data.resident import load
from bncore.nets import ForwardMode
from bncore.probes.growing import growing_batch
from bncore.probes.ics import layerwise_gradients
from bncore.probes.run import Measured, ProbeRunner
from bncore.probes.view import StepView
from bncore.train.state import TrainState, evaluate, layout_of


def vgg_spec(**changes: Any) -> Spec:
    """A tiny VGG on the synthetic images, in bfloat16."""
    spec = Spec(
        steps=4,
        batch_size=16,
        precision="bfloat16",
        device="cpu",
        threads=1,
        data=ImageData(source="synthetic"),
        net=VGG(kind="vgg11", width=0.125),
        norm=Norm(kind="batch"),
        optim=Optim(lr=0.05, momentum=0.9, weight_decay=1e-3),
        eval=Evaluation(every=3, train_samples=32, test_samples=32, batch_size=32),
        checkpoint=Checkpoints(every_steps=2, every_minutes=0),
    )
    return spec.model_copy(update=changes)


@cache
def images(precision: str) -> Dataset:
    return load(vgg_spec(precision=precision))


def session(spec: Spec) -> TrainState:
    return TrainState(spec, images(spec.precision))


def seen(run: TrainState, step: int) -> StepView:
    run.step(step, observe=True)
    assert run.view is not None
    return run.view


def float64_gradient(view: StepView, run: TrainState) -> dict[str, torch.Tensor]:
    """The gradient at theta_t on the step's batch by a network in float64."""
    twin = session(run.spec.model_copy(update={"precision": "float64"}))
    with torch.no_grad():
        for name, tensor in [*twin.net.named_parameters(), *twin.net.named_buffers()]:
            tensor.copy_({**view.before, **view.buffers}[name])
    outputs = twin.net(view.inputs.double(), ForwardMode(training=True, noise_step=view.step))
    twin.criterion(outputs, view.targets).backward()
    return {name: p.grad for name, p in twin.net.named_parameters() if p.grad is not None}


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """Relative, over all parameters."""
    apart = sum(((one[name].double() - other[name]) ** 2).sum() for name in other)
    size = sum((other[name] ** 2).sum() for name in other)
    return float((apart / size) ** 0.5)  # type: ignore[arg-type]


def test_training_is_coarse_and_the_view_is_not() -> None:
    run = session(vgg_spec())
    for step in range(3):
        view = seen(run, step)
    exact = float64_gradient(view, run)
    used = {name: p.grad for name, p in run.net.named_parameters() if p.grad is not None}
    assert distance(used, exact) > 1e-3, "or it was not trained in bfloat16"
    assert distance(dict(view.grads), exact) < 1e-5
    assert {p.dtype for p in run.net.parameters()} == {torch.float32}
    assert {b.dtype for b in run.net.buffers()} == {torch.float32}


def test_the_view_of_float32_is_the_gradient_that_was_used() -> None:
    run = session(vgg_spec(precision="float32"))
    view = seen(run, 0)
    for name, p in run.net.named_parameters():
        assert p.grad is None or torch.equal(view.grads[name], p.grad)


@pytest.mark.parametrize("kind", [*NORM_KINDS, "lp:3"])
def test_every_norm_trains_in_bfloat16(kind: str) -> None:
    if kind == "instance":
        spec = vgg_spec(norm=Norm(kind=kind), net=VGG(kind="vgg11", width=0.25))
    else:
        spec = vgg_spec(norm=Norm(kind=kind), noise=Noise(on=True))
    run = session(spec)
    coarse = [run.step(step) for step in range(3)]
    finer = session(spec.model_copy(update={"precision": "float32"}))
    fine = [finer.step(step) for step in range(3)]
    for one, other in zip(coarse, fine, strict=True):
        assert one is not None
        assert other is not None
        assert one.loss == pytest.approx(other.loss, rel=0.2)
    assert coarse != fine
    assert {b.dtype for b in run.net.buffers()} == {torch.float32}
    assert evaluate(run, 3)["test_loss"] < 100


def test_noise_is_the_same_in_training_and_in_a_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    run = session(vgg_spec(noise=Noise(on=True)))
    source = run.net.layers[0].noise_after_norm
    assert source is not None
    drawn = []
    draws = type(source).draws

    def watched(self: Any, a: torch.Tensor, step: int) -> Any:
        found = draws(self, a, step)
        if self is source:
            drawn.append([part.clone() for part in found])
        return found

    monkeypatch.setattr(type(source), "draws", watched)
    seen(run, 0)
    assert len(drawn) == 2, "once in training, once for the view"
    assert all(torch.equal(one, other) for one, other in zip(*drawn, strict=True))
    assert drawn[0][0].dtype == torch.float32


OBSERVED = Probes(
    ics=Ics(every=2, floor_every=1), landscape=Landscape(every=2), activations=Activations(every=2)
)


def test_observing_does_not_change_training_in_bfloat16(tmp_path: Path) -> None:
    plain, observed = (
        make_run(tmp_path / "plain", vgg_spec()),
        make_run(tmp_path / "observed", vgg_spec(probes=OBSERVED)),
    )
    assert train(plain) == train(observed) == 0
    assert digest(plain) == digest(observed)


INNERMOST = {"precision": "float32", "memory_format": "channels_last", "noise": Noise(on=True)}


@pytest.mark.parametrize("changes", [{}, INNERMOST], ids=["bfloat16", "channels innermost"])
def test_it_resumes_exactly(tmp_path: Path, changes: dict[str, Any]) -> None:
    """The layout of momentum too comes out of the checkpoint as it was."""
    spec = vgg_spec(probes=OBSERVED, **changes)
    twin, run = make_run(tmp_path / "twin", spec), make_run(tmp_path / "run", spec)
    assert train(run, failpoint="journal.half:15") == -signal.SIGKILL
    assert train(run) == train(twin) == 0
    assert (story(run), digest(run)) == (story(twin), digest(twin))


@pytest.mark.parametrize("device", [(), ("--device", "cpu")])
def test_a_cpu_has_no_tf32(tmp_path: Path, device: tuple[str, ...]) -> None:
    done = bnrun("preset", "quick", "--headless", "--set", "precision=tf32", *device, cwd=tmp_path)
    assert done.returncode == 2
    assert "precision = 'tf32'" in done.stderr
    assert "float32" in done.stderr
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.parametrize("noise", [False, True], ids=["quiet", "noisy"])
@pytest.mark.parametrize("kind", ["batch", "l1", "none", "group"])
def test_images_with_channels_innermost_are_trained_and_measured_alike(kind: str, noise: bool) -> None:
    spec = vgg_spec(precision="float64", norm=Norm(kind=kind), noise=Noise(on=noise))
    usual = session(spec)
    other = session(spec.model_copy(update={"memory_format": "channels_last"}))
    for step in range(3):
        one, view = seen(usual, step), seen(other, step)
    assert view.inputs.is_contiguous(memory_format=torch.channels_last)
    weight = other.net.layers[2].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
    for name, tensor in one.before.items() if not noise else ():  # whose draws depend on the layout
        torch.testing.assert_close(view.before[name].contiguous(), tensor, rtol=1e-7, atol=1e-9)
    layers = range(1, len(view.weights))
    grown, plain = growing_batch(view, view.after, layers), layerwise_gradients(view, view.after, layers)
    for a, b in zip(grown, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-10)
    results = list(ProbeRunner(spec.model_copy(update={"probes": OBSERVED})).measure(view))
    assert all(isinstance(result, Measured) or view.step % 2 for result in results)


@pytest.mark.parametrize(
    ("memory_format", "on_a_cpu", "on_a_gpu"),
    [
        ("auto", torch.contiguous_format, torch.channels_last),
        ("contiguous", torch.contiguous_format, torch.contiguous_format),
        ("channels_last", torch.channels_last, torch.channels_last),
    ],
)
def test_the_layout_is_the_devices_unless_the_spec_says_it(
    memory_format: str, on_a_cpu: torch.memory_format, on_a_gpu: torch.memory_format
) -> None:
    assert layout_of(memory_format, torch.device("cpu")) == on_a_cpu
    assert layout_of(memory_format, torch.device("cuda:1")) == on_a_gpu
