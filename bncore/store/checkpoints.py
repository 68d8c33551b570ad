"""Checkpoint files by their names: ``step-000001240.pt`` holds the state before update 1240; one
that was asked for is ``step-000001240-kept.pt``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

_NAME = re.compile(r"step-(\d{9})(-kept)?\.pt")


class Checkpoint(NamedTuple):
    """A checkpoint file, by its name."""

    step: int
    requested: bool
    path: Path


def file_name(step: int, *, requested: bool) -> str:
    """The name of a checkpoint's file."""
    return f"step-{step:09d}{'-kept' if requested else ''}.pt"


def listing(folder: Path) -> list[Checkpoint]:
    """The checkpoints in `folder` by step, oldest first, requested ones after others of the same step."""
    names = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
    found = [(match, folder / name) for name in names if (match := _NAME.fullmatch(name))]
    return sorted(Checkpoint(int(m[1]), m[2] is not None, path) for m, path in found)
