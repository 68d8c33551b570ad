"""What a checkpoint holds, without a network to put it in."""

from __future__ import annotations

from pathlib import Path

from bncore.train import checkpoint
from bncore.train.digest import tensors_sha256


def step_and_digest(path: Path) -> tuple[int, str]:
    """Step and params_sha256 of a checkpoint.

    Raises:
        CheckpointError: it cannot be used; the message names the file.
    """
    step, state = checkpoint.load(path)
    try:
        tensors = {name: t for name, t in state["net"].items() if not name.endswith("_extra_state")}
        return step, tensors_sha256(tensors)
    except (AttributeError, KeyError, TypeError) as error:
        raise checkpoint.CheckpointError(f"{path}: holds no network ({type(error).__name__})") from error


def usable(path: Path) -> bool:
    """Whether a checkpoint can be loaded."""
    try:
        step_and_digest(path)
    except checkpoint.CheckpointError:
        return False
    return True
