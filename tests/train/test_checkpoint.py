"""Checkpoints: whole or not there, and nothing but numbers in them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bncore.store.errors import StoreError
from bncore.store.paths import list_checkpoints
from bncore.train import checkpoint
from bncore.train.checkpoint import CheckpointError


def state(value: float = 1.0) -> dict[str, object]:
    """Something of every kind that a state holds."""
    return {
        "net": {"w": torch.full((3, 2), value)},
        "optimiser": {"state": {0: {"step": 4}}, "lr": [0.1, True]},
    }


def test_what_is_saved_is_loaded_without_pickle(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 12, state())
    step, loaded = checkpoint.load(path)
    assert step == 12
    assert torch.equal(loaded["net"]["w"], torch.ones(3, 2))
    assert loaded["optimiser"] == {"state": {0: {"step": 4}}, "lr": [0.1, True]}
    torch.load(path, weights_only=True)  # docs/explanation/architecture.md: loadable so


def test_the_newest_and_the_requested_are_kept(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 10, state(), requested=True)
    for step in (20, 30, 40):
        checkpoint.save(tmp_path, step, state())
    (tmp_path / "step-000000050.123.tmp").write_bytes(b"left by a dead writer")
    checkpoint.prune(tmp_path, keep=2)
    assert [(c.step, c.why == "kept") for c in list_checkpoints(tmp_path)] == [
        (10, True),
        (30, False),
        (40, False),
    ]
    assert not list(tmp_path.glob("*.tmp"))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_any_changed_byte_is_noticed_or_harmless(tmp_path: Path, data: st.DataObject) -> None:
    path = checkpoint.save(tmp_path, 1, state(2.5))
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        step, loaded = checkpoint.load(path)
    except CheckpointError:
        return
    assert step == 1  # a byte of the archive's padding
    assert torch.equal(loaded["net"]["w"], torch.full((3, 2), 2.5))


@pytest.mark.parametrize("length", [0, 1, 100, 800])
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, length: int) -> None:
    path = checkpoint.save(tmp_path, 1, state())
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match="step-000000001"):
        checkpoint.load(path)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (str(tmp_path / "executed"),))

    path = tmp_path / "step-000000001.pt"
    torch.save({"version": 1, "step": 1, "state": Evil(), "sha256": ""}, path)
    with pytest.raises(CheckpointError):
        checkpoint.load(path)
    assert not (tmp_path / "executed").exists()


def test_a_failed_write_leaves_the_folder_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, 1, state())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(StoreError, match="No space"):
        checkpoint.save(tmp_path, 2, state())
    assert [p.name for p in tmp_path.iterdir()] == ["step-000000001.pt"]
