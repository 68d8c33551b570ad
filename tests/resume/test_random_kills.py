"""Two hundred SIGKILLs at random moments, and not one difference (slow); a network with everything on."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from bncore.config.model import VGG, Checkpoints, Evaluation, ImageData, Noise, Norm, Optim, Spec
from bncore.store import commands, requests
from bncore.store.paths import RunDir, list_checkpoints
from resume.conftest import Undisturbed
from resume.factories import DEEP_LINEAR, SLOW, SPARSE, digest, events, make_run, start, story, train

KILLS = 200

NOISY_VGG = Spec(
    steps=12,
    batch_size=8,
    device="cpu",
    threads=1,
    data=ImageData(source="synthetic", augment=True),
    net=VGG(kind="vgg11", width=0.0625),
    norm=Norm(kind="batch"),
    noise=Noise(on=True),
    optim=Optim(lr=0.05, momentum=0.9, weight_decay=5e-4),
    eval=Evaluation(every=5, train_samples=32, test_samples=32, batch_size=16),
    checkpoint=Checkpoints(every_steps=4, every_minutes=0),
)
"""Running statistics, momentum, augmentation and noise: all that a resumed step depends on."""


def requested(path: Path, spec: Spec) -> RunDir:
    """A run with a few requests waiting for it."""
    run = make_run(path, spec)
    for step in (5, 17, 40):
        requests.send_request(run, commands.Note(text=f"at {step}", at_step=step))
    requests.send_request(run, commands.Checkpoint(at_step=33))
    return run


def test_a_noisy_vgg_resumes_exactly(tmp_path: Path, undisturbed: Undisturbed) -> None:
    twin = undisturbed(NOISY_VGG)
    run = make_run(tmp_path / "run-s0", NOISY_VGG)
    assert (
        train(run, failpoint="journal.half:11") == -signal.SIGKILL
    )  # step 6, after the checkpoint of step 4
    assert train(run, failpoint="checkpoint.rename:1") == -signal.SIGKILL
    assert train(run) == 0
    assert story(run) == story(twin)
    assert digest(run) == digest(twin)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("spec", [DEEP_LINEAR, SPARSE, SLOW], ids=["every-step", "every-third", "longer"])
def test_random_kills_make_no_difference(
    tmp_path: Path, spec: Spec, capsys: pytest.CaptureFixture[str]
) -> None:
    train(make_run(tmp_path / "first-s0", spec))  # starts the server: its time is nobody's usual time
    twin = requested(tmp_path / "twin-s0", spec)
    began = time.monotonic()
    assert train(twin) == 0
    usual_s = time.monotonic() - began
    chance = random.Random(spec.steps + spec.log_every)
    counts: Counter[str] = Counter()
    where: list[int] = []
    while counts["kills"] < KILLS:
        run = requested(tmp_path / f"run-s{counts['runs']}", spec)
        counts["runs"] += 1
        while True:
            process = start(run)
            process.join(chance.uniform(0, usual_s))
            process.kill()
            process.join()
            if process.exitcode == 0:
                break
            assert process.exitcode == -signal.SIGKILL
            counts["kills"] += 1
            counts["torn lines"] += _torn(run)
            counts["half checkpoints"] += any(run.checkpoints.glob("*.tmp"))
            where += [c.step for c in list_checkpoints(run.checkpoints)][-1:]
        counts["differences"] += story(run) != story(twin) or digest(run) != digest(twin)
        counts["gaps"] += [e["seq"] for e in events(run)] != list(range(len(events(run))))
    with capsys.disabled():
        print(f"\n{dict(counts)}, newest checkpoints at {len(set(where))} different steps")  # noqa: T201
    assert counts["differences"] == counts["gaps"] == 0
    assert len(set(where)) > 3, "every kill came too early to mean anything"


def _torn(run: RunDir) -> bool:
    return run.journal_file.exists() and not run.journal_file.read_bytes().endswith(b"\n")
