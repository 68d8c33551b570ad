"""Steps replayed by graphs, tapes in their place: they are the steps that are made without, to the bit."""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from resume.factories import DEEP_LINEAR, SPARSE, digest, make_run, story, train
from steer.factories import CHANGES, OBSERVED, answers, steered
from torch import Tensor

from bncore.config.change import changed
from bncore.config.model import MLP, VGG, Evaluation, ImageData, Noise, Norm, Optim, Schedule, Spec
from bncore.data.dataset import Dataset
from bncore.data.resident import load
from bncore.nets import ForwardMode
from bncore.store.paths import RunDir, list_checkpoints
from bncore.train import checkpoint, optimizer
from bncore.train.state import DeviceMetrics, TrainState
from bncore.train.step_graphs import StepGraphs
from train.factories import TOGGLES, settings_of
from train.tape import Tape, Taping

SMALL = Spec(
    steps=30,
    batch_size=8,
    device="cpu",
    threads=1,
    data=ImageData(source="synthetic", augment=True),
    net=MLP(hidden=(8, 8, 8)),
    norm=Norm(kind="batch"),
    noise=Noise(on=True),
    optim=Optim(lr=0.02, momentum=0.9, weight_decay=0.01),
    log_every=3,
)
"""With everything that differs from step to step: batches, crops, noise, statistics, momentum."""

SPECS: dict[str, dict[str, Any]] = {
    "momentum": {},
    "convolutions": {"net": VGG(kind="vgg11", width=0.05)},
    "convolutions, l2": {"net": VGG(kind="vgg11", width=0.05), "norm": Norm(kind="l2")},
    "plain sgd": {"optim": Optim(lr=0.02)},
    "adam": {"optim": Optim(kind="adam", lr=1e-3)},
    "weights decay": {"optim": Optim(lr=0.02, momentum=0.9, weight_decay=0.01, decay="weights")},
    "weights decay, adam": {"optim": Optim(kind="adam", lr=1e-3, weight_decay=0.01, decay="weights")},
    "a rate that changes at every step": {"optim": Optim(lr=0.05, schedule=Schedule(kind="cosine"))},
    "a rate that changes at times": {
        "optim": Optim(lr=0.05, schedule=Schedule(kind="step", milestones=(7, 12)))
    },
    "float64": {"precision": "float64"},
    "float64, a rate that changes at times": {
        "precision": "float64",
        "optim": Optim(lr=0.05, momentum=0.5, schedule=Schedule(kind="step", milestones=(7, 12))),
    },
    "bfloat16": {"precision": "bfloat16"},
    "relative length": {"optim": Optim(lr=0.02, relative_update=0.01)},
    "every step recorded": {"log_every": 1},
    "every second step recorded": {"log_every": 2},
    "no norm, no noise": {"norm": Norm(kind="none"), "noise": Noise()},
    "l1": {"norm": Norm(kind="l1")},
    "linf, centred": {"norm": Norm(kind="linf", centred=True)},
    "group": {"norm": Norm(kind="group", groups=2)},
    "weight": {"norm": Norm(kind="weight")},
    "relative noise on the input": {"noise": Noise(on=True, position="input", amplitude="relative")},
    "noise before the norm": {"noise": Noise(on=True, position="before_norm")},
}


@functools.cache
def data(precision: str) -> Dataset:
    return load(SMALL.model_copy(update={"precision": precision}))


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizer, "FUSED", {"cuda", "cpu"})


class Pair:
    """Two sessions of one spec: one makes its steps singly, the other by graphs."""

    def __init__(self, spec: Spec) -> None:
        self.plain, self.session = (TrainState(spec, data(spec.precision)) for _ in range(2))
        self.reasons: list[str] = []
        self.recorder = Taping(self.session)
        self.graphs = StepGraphs(self.session, self.recorder, self.reasons.append)
        self.at = 0

    def steps(self, count: int) -> None:
        """Make some steps, each of them the same on either side."""
        for step in range(self.at, self.at + count):
            record = step % self.plain.spec.log_every == 0
            assert_same(self.plain.update(step, record=record), self.graphs.update(step, record=record), step)
            for one, other in zip(self.plain.tensors(), self.session.tensors(), strict=True):
                assert torch.equal(one, other), step
        self.at += count

    def both(self, act: Callable[[TrainState], object]) -> None:
        act(self.plain)
        act(self.session)

    def change(self, **changes: Any) -> None:
        """Change settings on either side."""
        dotted = {name.replace("__", "."): value for name, value in changes.items()}
        self.both(lambda session: session.change(changed(session.spec, dotted)))


def assert_same(one: DeviceMetrics, other: DeviceMetrics, step: int) -> None:
    assert [t.item() for t in one.tensors] == [t.item() for t in other.tensors], step
    assert (one.lr, one.penalized) == (other.lr, other.penalized)


@pytest.mark.parametrize("name", SPECS)
def test_steps_by_a_graph_are_the_same_to_the_bit(name: str) -> None:
    pair = Pair(SMALL.model_copy(update=SPECS[name]))
    pair.steps(16)
    assert pair.reasons == []
    assert pair.graphs.replayed >= 4


def test_a_rate_in_the_devices_memory_needs_no_other_graph() -> None:
    pair = Pair(SMALL.model_copy(update={"log_every": 1, **SPECS["a rate that changes at every step"]}))
    pair.steps(12)
    assert (pair.recorder.recorded, pair.graphs.replayed) == (1, 10)
    pair.change(optim__lr=0.001)
    pair.steps(3)
    assert (pair.recorder.recorded, pair.graphs.replayed) == (1, 13)


def test_a_rate_that_is_a_constant_of_the_step_and_never_the_same_is_never_recorded() -> None:
    spec = SMALL.model_copy(update={"precision": "float64", **SPECS["a rate that changes at every step"]})
    pair = Pair(spec)
    pair.steps(20)
    assert pair.recorder.recorded == 0


@pytest.mark.parametrize("change", [*TOGGLES, {"norm__kind": "layer"}, {"norm__centred": False}], ids=str)
def test_a_change_in_mid_run_is_followed_there_and_back(change: dict[str, Any]) -> None:
    pair = Pair(SMALL)
    pair.steps(8)
    before = pair.graphs.replayed
    pair.change(**change)
    pair.steps(18)  # statistics that began anew have the constant momentum after ten
    between = pair.graphs.replayed
    pair.change(**settings_of(SMALL, change))
    pair.steps(18)
    assert 0 < before < between < pair.graphs.replayed
    assert pair.reasons == []


def test_a_norm_that_brings_its_parameters_in_late_is_trained() -> None:
    """gamma has no momentum yet, everything else has."""
    pair = Pair(SMALL.model_copy(update={"norm": Norm(kind="none")}))
    pair.steps(6)
    pair.change(norm__kind="batch")
    gamma = pair.session.net.norms[0].weight.detach().clone()
    pair.steps(18)
    assert not torch.equal(pair.session.net.norms[0].weight, gamma)
    assert pair.graphs.replayed > 4


def test_a_graph_that_missed_a_change_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tapes are as blind as graphs: without the key, a toggle is ignored and the comparison fails."""
    monkeypatch.setattr(StepGraphs, "_follow", lambda self: None)
    pair = Pair(SMALL.model_copy(update={"log_every": 1}))
    pair.steps(6)
    pair.change(noise__on=False)
    with pytest.raises(AssertionError):
        pair.steps(3)


def test_a_graph_with_a_rate_of_its_own_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainState, "fixed_rate", lambda self, lr: None)
    pair = Pair(SMALL.model_copy(update={"precision": "float64", "log_every": 1}))
    pair.steps(6)
    pair.change(optim__lr=0.01)
    with pytest.raises(AssertionError):
        pair.steps(3)


def test_statistics_that_begin_anew_are_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The weight of the newest batch is 1, 1/2, 1/3, ... for a while."""
    monkeypatch.setattr(TrainState, "capturable", property(lambda self: True))
    pair = Pair(SMALL.model_copy(update={"log_every": 1}))
    pair.steps(4)
    pair.change(norm__kind="l2")
    with pytest.raises(AssertionError):
        pair.steps(6)


def test_noise_in_other_memory_is_recorded_again() -> None:
    """An evaluation with noise, of more samples than a batch, gives the draws a larger place."""
    pair = Pair(
        SMALL.model_copy(update={"log_every": 1, "noise": Noise(on=True, in_eval=True), "eval": Evaluation()})
    )
    pair.steps(6)
    images = torch.randn(50, 3, 32, 32)
    pair.both(lambda session: session.outputs(images, ForwardMode(training=False, noise_step=6)))
    pair.steps(6)
    assert pair.recorder.recorded == 2
    assert pair.graphs.replayed == 9


def test_a_state_that_was_loaded_is_gone_on_with() -> None:
    pair = Pair(SMALL)
    pair.steps(9)
    state = _copied(pair.plain.state_dict())
    pair.steps(9)
    pair.both(lambda session: session.load_state_dict(_copied(state)))
    pair.at = 9
    pair.steps(9)
    assert pair.recorder.recorded == 4


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return type(value)((key, _copied(part)) for key, part in value.items())
    if isinstance(value, list):
        return [_copied(part) for part in value]
    return value.detach().clone() if isinstance(value, Tensor) else value


class Wrong(Taping):
    """A recorder whose steps are not quite the same."""

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        replay, result = super().record(work)

        def nearly() -> None:
            replay()
            with torch.no_grad():
                self.session.parameters[-1].view(-1)[0] += 1e-7

        return nearly, result


class Broken(Taping):
    """A recorder that fails and leaves a mess."""

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        work()
        raise RuntimeError("operation not permitted when stream is capturing\nand a long story")


@pytest.mark.parametrize(
    ("recorder", "reason"),
    [(Wrong, "the graph's step is not the same to the bit"), (Broken, "stream is capturing")],
)
def test_without_a_graph_that_can_be_trusted_there_is_none(recorder: type[Taping], reason: str) -> None:
    pair = Pair(SMALL.model_copy(update={"log_every": 1}))
    pair.graphs = StepGraphs(pair.session, recorder(pair.session), pair.reasons.append)
    pair.steps(8)
    assert pair.graphs.replayed == 0
    (reported,) = pair.reasons  # once, not at every step
    assert reported.endswith(reason) and "steps like step 1:" in reported


def test_without_memory_for_a_trial_there_is_no_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(SMALL)
    clone = torch.Tensor.clone

    def exhausted(tensor: Tensor, **options: Any) -> Tensor:
        if any(tensor is parameter for parameter in pair.session.parameters):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return clone(tensor, **options)

    monkeypatch.setattr(torch.Tensor, "clone", exhausted)
    pair.steps(8)
    assert pair.graphs.replayed == 0
    assert len(pair.reasons) == 2  # for steps that are recorded, and for those that are not
    assert all("out of memory" in reason for reason in pair.reasons)


def states(run: RunDir) -> Iterator[tuple[int, str]]:
    for one in list_checkpoints(run.checkpoints):
        step, state = checkpoint.load(one.path)
        yield step, checkpoint.content_sha256(state)


def assert_same_run(run: RunDir, twin: RunDir) -> None:
    assert (digest(run), story(run), dict(states(run))) == (digest(twin), story(twin), dict(states(twin)))


@pytest.mark.parametrize("spec", [DEEP_LINEAR, SPARSE, OBSERVED], ids=["plain", "sparse", "observed"])
def test_a_whole_run_is_the_same_with_graphs_and_without(tmp_path: Path, spec: Spec) -> None:
    run, twin = make_run(tmp_path / "graphs", spec), make_run(tmp_path / "without", spec)
    assert train(run, ahead=64, updates="graphs") == train(twin, updates="fused") == 0, (
        run.log_file.read_text()
    )
    assert_same_run(run, twin)
    assert "no CUDA graph" not in run.log_file.read_text()


def test_a_steered_run_is_the_same_with_graphs_and_without(tmp_path: Path) -> None:
    requested = [(4 + 4 * place, change) for place, change in enumerate(CHANGES)]
    run, twin = (
        steered(tmp_path / "graphs", OBSERVED, requested),
        steered(tmp_path / "without", OBSERVED, requested),
    )
    assert train(run, ahead=64, updates="graphs") == train(twin, updates="fused") == 0
    assert answers(run) == answers(twin)
    assert_same_run(run, twin)


@pytest.mark.parametrize("point", ["journal.half:12", "journal.half:40", "checkpoint.half:4"])
def test_killed_with_graphs_it_is_resumed_to_the_same_end(tmp_path: Path, point: str) -> None:
    run, twin = make_run(tmp_path / "graphs", OBSERVED), make_run(tmp_path / "without", OBSERVED)
    assert train(run, failpoint=point, ahead=64, updates="graphs") == -signal.SIGKILL
    assert train(run, ahead=64, updates="graphs") == train(twin, updates="fused") == 0
    assert_same_run(run, twin)


def test_it_diverges_at_the_same_step(tmp_path: Path) -> None:
    spec = SPARSE.model_copy(
        update={"norm": Norm(kind="none"), "optim": Optim(lr=0.3, momentum=0.5), "log_every": 5}
    )
    run, twin = make_run(tmp_path / "graphs", spec), make_run(tmp_path / "without", spec)
    assert train(run, ahead=64, updates="graphs") == train(twin, updates="fused") == 0
    assert story(twin)[-1]["state"] == "diverged", "or nothing is tested"
    assert_same_run(run, twin)


@pytest.mark.parametrize(
    "waits",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.isfinite().all()),
        lambda x: torch.equal(x, x),
        lambda x: x[x > 0],
        lambda x: x * torch.tensor([2.0, 3.0]),
    ],
)
def test_the_stand_in_refuses_what_a_capture_would(waits: Callable[[Tensor], object]) -> None:
    with pytest.raises(RuntimeError, match="stream is capturing"), Tape():
        waits(torch.ones(2))
