"""Checkpoints: whole or absent, checked, and never executed."""

from __future__ import annotations

import os
import pickle
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from bncore.store.errors import StoreError
from bncore.store.paths import list_checkpoints
from bncore.store.status import read_status
from bncore.store.verify import verify
from bncore.train import checkpoint
from bncore.train.checkpoint import CheckpointError, step_and_digest
from resume.conftest import Undisturbed
from resume.factories import DEEP_LINEAR, RunDir, digest


def state() -> dict[str, Any]:
    weight = torch.arange(6, dtype=torch.float64).reshape(2, 3)
    return {
        "net": {"w": weight, "n": torch.tensor(3)},
        "optimiser": {"state": {0: {"m": weight.t()}}, "lr": [0.1]},
    }


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 12, state())
    assert [p.name for p in tmp_path.iterdir()] == ["step-000000012.pt"]
    step, loaded = checkpoint.load(path)
    assert step == 12
    torch.testing.assert_close(loaded, state(), rtol=0, atol=0)


def test_every_cut_and_every_flipped_byte_is_noticed_or_harmless(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 12, state())
    intact, chance, noticed = path.read_bytes(), random.Random(0), 0
    for _ in range(300):
        content = bytearray(intact)
        if chance.random() < 0.3:
            del content[chance.randrange(len(content)) :]
        else:
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(content)
        try:
            step, loaded = checkpoint.load(path)
        except CheckpointError as error:
            assert str(path) in str(error)
            noticed += 1
            continue
        assert step == 12  # a byte of padding, say
        torch.testing.assert_close(loaded, state(), rtol=0, atol=0)
    assert noticed > 150


class Bomb:
    """What unpickling would run."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("inside", ["a pickle", "an archive of torch", "the state"])
def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, inside: str) -> None:
    mark, path = tmp_path / "mark", tmp_path / "step-000000001.pt"
    if inside == "a pickle":
        path.write_bytes(pickle.dumps(Bomb(mark)))
    elif inside == "an archive of torch":
        torch.save(Bomb(mark), path)
    else:
        torch.save({"version": 1, "step": 1, "state": {"net": Bomb(mark)}, "sha256": ""}, path)
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        checkpoint.load(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "not a checkpoint of this program"),
        ({"net": {}}, "not a checkpoint of this program"),
        ({"version": 99, "step": 1, "state": {}, "sha256": ""}, "version 99, this program reads 1"),
        ({"version": 1, "step": 1, "state": {}, "sha256": "0"}, "damaged"),
    ],
)
def test_other_files_are_refused_with_a_reason(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "step-000000001.pt"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(path)


def test_the_newest_and_the_requested_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 15, 20):
        checkpoint.save(tmp_path, step, state(), requested=step == 10)
        checkpoint.save(tmp_path, step, state())
    (tmp_path / "step-000000025.999.tmp").write_bytes(b"of a dead writer")
    (tmp_path / "notes.txt").write_text("junk")
    checkpoint.prune(tmp_path, 2)
    kept = [(c.step, c.why == "kept") for c in list_checkpoints(tmp_path)]
    assert kept == [(10, True), (15, False), (20, False)]
    assert len(list(tmp_path.iterdir())) == 4


def test_a_checkpoint_that_cannot_be_written_touches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save(tmp_path, 5, state())
    before = (tmp_path / "step-000000005.pt").read_bytes()

    def refuse(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StoreError, match=r"step-000000005\.pt: cannot be written: No space left on device"):
        checkpoint.save(tmp_path, 5, {"net": {}})
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [before]


@pytest.fixture
def finished(tmp_path: Path, undisturbed: Undisturbed) -> RunDir:
    """A copy of a finished run, to be damaged."""
    shutil.copytree(undisturbed(DEEP_LINEAR).path, tmp_path / "run-s0")
    return RunDir(tmp_path / "run-s0")


def test_a_trained_run_verifies_wherever_it_is_copied(finished: RunDir) -> None:
    assert verify(finished, step_and_digest) == []
    newest = list_checkpoints(finished.checkpoints)[-1]
    assert step_and_digest(newest.path) == (DEEP_LINEAR.steps, digest(finished))
    status = read_status(finished)
    assert status is not None
    assert (status.state, status.step) == ("finished", DEEP_LINEAR.steps)


def test_a_weight_changed_by_one_bit_is_found(finished: RunDir) -> None:
    newest = list_checkpoints(finished.checkpoints)[-1]
    step, held = checkpoint.load(newest.path)
    next(iter(held["net"].values())).view(torch.int64).bitwise_xor_(1)
    checkpoint.save(finished.checkpoints, step, held)
    (problem,) = verify(finished, step_and_digest)
    assert "params_sha256" in problem
    assert digest(finished) in problem


def test_a_checkpoint_without_a_network_is_named(finished: RunDir) -> None:
    path = checkpoint.save(finished.checkpoints, 40, {"optimiser": {}})
    (problem,) = verify(finished, step_and_digest)
    assert str(path) in problem
