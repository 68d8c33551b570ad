"""Steps made ahead of their numbers, as on a GPU: nothing that is computed or journaled shows it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from resume.factories import (
    DEEP_LINEAR,
    SLOW,
    SPARSE,
    digest,
    end,
    events,
    make_run,
    start,
    states,
    story,
    train,
    wait_for_state,
    wait_until,
)
from steer.factories import CHANGES, OBSERVED, answers, steered

from bncore.config.model import MLP, Checkpoints, Evaluation, ImageData, Norm, Optim, Spec
from bncore.store import commands, requests
from bncore.store.paths import RunDir
from bncore.store.status import read_status

CLASSIFIER = Spec(
    steps=40,
    batch_size=20,
    device="cpu",
    threads=1,
    data=ImageData(source="synthetic"),
    net=MLP(hidden=(16, 16)),
    norm=Norm(kind="batch"),
    optim=Optim(lr=0.05, momentum=0.9, weight_decay=0.01),
    eval=Evaluation(every=15, train_samples=60, test_samples=40),
    checkpoint=Checkpoints(every_steps=9, every_minutes=0),
)
"""With accuracies, a weight penalty, running statistics and momentum."""

DIVERGING = {
    "at once": DEEP_LINEAR.model_copy(update={"precision": "float32", "optim": Optim(lr=1e38)}),
    "in a block": SPARSE.model_copy(
        update={"norm": Norm(kind="none"), "optim": Optim(lr=0.3, momentum=0.5), "log_every": 5}
    ),
    "with running statistics": DEEP_LINEAR.model_copy(
        update={"precision": "float32", "norm": Norm(kind="l1"), "optim": Optim(lr=1.5, momentum=0.9)}
    ),
}

Undisturbed = Callable[[Spec, list[int]], RunDir]


def assert_same(run: RunDir, twin: RunDir) -> None:
    assert story(run) == story(twin)
    assert digest(run) == digest(twin)
    assert states(run) == states(twin)


@pytest.mark.parametrize("ahead", [2, 7, 64])
@pytest.mark.parametrize(
    "spec",
    [DEEP_LINEAR, SPARSE, OBSERVED, CLASSIFIER],
    ids=["every step", "every third", "observed", "classifier"],
)
def test_a_run_is_the_same_however_many_steps_are_made_ahead(tmp_path: Path, spec: Spec, ahead: int) -> None:
    run, twin = make_run(tmp_path / "ahead", spec), make_run(tmp_path / "not", spec)
    assert train(run, ahead=ahead) == train(twin) == 0, run.log_file.read_text()
    assert_same(run, twin)


@pytest.mark.parametrize("ahead", [2, 64])
@pytest.mark.parametrize("case", DIVERGING)
def test_a_run_diverges_at_the_first_loss_that_is_not_finite(tmp_path: Path, case: str, ahead: int) -> None:
    run, twin = (
        make_run(tmp_path / "ahead", DIVERGING[case]),
        make_run(tmp_path / "not", DIVERGING[case]),
    )
    assert train(run, ahead=ahead) == train(twin) == 0
    assert events(twin)[-1]["state"] == "diverged", "or nothing is tested"
    assert_same(run, twin)
    status = read_status(run)
    assert status is not None
    assert status.step == events(twin)[-1]["step"]


def test_requests_are_taken_at_their_steps(tmp_path: Path) -> None:
    requested = [(4 + 4 * place, change) for place, change in enumerate(CHANGES)]
    run, twin = (
        steered(tmp_path / "ahead", OBSERVED, requested),
        steered(tmp_path / "not", OBSERVED, requested),
    )
    for one in (run, twin):
        requests.send_request(one, commands.Checkpoint(at_step=33))
        requests.send_request(one, commands.Evaluate(at_step=34))
    assert train(run, ahead=64) == train(twin) == 0
    assert answers(run) == answers(twin)
    assert_same(run, twin)


@pytest.mark.parametrize(
    "point", ["journal.half:12", "journal.half:40", "checkpoint.half:4", "checkpoint.rename:5"]
)
@pytest.mark.parametrize("then", [1, 64], ids=["then not ahead", "then ahead"])
def test_killed_and_resumed_it_ends_the_same(tmp_path: Path, point: str, then: int) -> None:
    run, twin = make_run(tmp_path / "ahead", OBSERVED), make_run(tmp_path / "not", OBSERVED)
    assert train(run, failpoint=point, ahead=64) == -signal.SIGKILL
    assert train(run, ahead=then) == train(twin) == 0
    assert_same(run, twin)


def test_a_run_that_is_ahead_answers_and_stops_as_others_do(tmp_path: Path) -> None:
    spec = SLOW
    requested = [(30, {"noise.on": True})]
    run, twin = steered(tmp_path / "ahead", spec, requested), steered(tmp_path / "not", spec, requested)
    requests.send_request(run, commands.Pause(at_step=41))
    process = start(run, ahead=64)
    wait_for_state(run, "paused", 41)
    steps = [event["step"] for event in events(run) if event["type"] == "step"]
    assert steps == list(range(41)), "all that was made is journaled when it pauses"
    requests.send_request(run, commands.Resume())
    wait_until(lambda: (s := read_status(run)) is not None and s.state == "running", "going on")
    process.terminate()
    assert end(process) == 128 + signal.SIGTERM
    assert train(run, ahead=64) == train(twin) == 0
    assert digest(run) == digest(twin)
    assert events(run)[-1]["state"] == "finished"
