"""Checkpoint files by their names: ``step-000001240.pt`` holds the state before update 1240; one that was asked
for is ``step-000001240-kept.pt``, one that a fork or a replay began from ``step-000001240-parent.pt``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, NamedTuple

_NAME = re.compile(r"step-(\d{9})(?:-(kept|parent))?\.pt")


class CheckpointFile(NamedTuple):
    """A checkpoint file, by its name."""

    step: int
    why: str
    """Why it stays for good: ``kept``, ``parent``; empty where it does not."""
    path: Path


def file_name(step: int, why: Literal["", "kept", "parent"] = "") -> str:
    """The name of a checkpoint's file."""
    return f"step-{step:09d}{why and f'-{why}'}.pt"


def listing(folder: Path) -> list[CheckpointFile]:
    """The checkpoints in `folder` that are plain files, by step, oldest first, those that stay after others of the
    same step."""
    names = sorted(p.name for p in folder.iterdir() if p.is_file()) if folder.is_dir() else []
    found = [(match, folder / name) for name in names if (match := _NAME.fullmatch(name))]
    return sorted(CheckpointFile(int(m[1]), m[2] or "", path) for m, path in found)
