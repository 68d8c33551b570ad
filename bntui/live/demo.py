"""The recorded sweep shipped with the program: the explorer with real numbers, without training anything.

The preset ``vgg_noisy`` with its CPU profile, 600 steps on CIFAR-10 images, with every instrument on and three
requests made while it ran. Host, user, paths and checkpoints have been removed.
"""

from __future__ import annotations

import zipfile
from importlib.resources import as_file, files
from pathlib import Path

NAME = "vgg_noisy-recorded"
SPEED = 12.0
"""Playback speed: six minutes are shown in half a minute."""


def demo_sweep(folder: Path) -> Path:
    """Unpack the recorded sweep into a folder and return its directory.

    Raises:
        OSError: the sweep cannot be written, for example because the disk is full.
    """
    with as_file(files("bntui") / "demo" / f"{NAME}.zip") as packed, zipfile.ZipFile(packed) as archive:
        archive.extractall(folder)
    return folder / NAME
