"""The recorded sweep that ships with the program: the explorer with real numbers, and nothing to train.

The preset ``vgg_noisy`` at its CPU profile, 600 steps on pictures of CIFAR-10, every instrument on; three requests
were made while it ran. Host, user and paths are taken out, checkpoints left out.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from importlib.resources import as_file, files
from pathlib import Path

NAME = "vgg_noisy-recorded"
SPEED = 12.0
"""How fast it is played back: its six minutes in half of one."""


def demo_sweep(folder: Path | None = None) -> Path:
    """The recorded sweep's directory, unpacked anew.

    Arguments:
        folder: where; default: a new temporary directory, which is the caller's to remove (`remove_demo`).

    Raises:
        OSError: there is no room for it.
    """
    folder = folder or Path(tempfile.mkdtemp(prefix="bntui-demo-"))
    with as_file(files("bntui") / "demo" / f"{NAME}.zip") as packed, zipfile.ZipFile(packed) as archive:
        archive.extractall(folder)
    return folder / NAME


def remove_demo(sweep: Path) -> None:
    """Remove what `demo_sweep` unpacked into a temporary directory."""
    shutil.rmtree(sweep.parent, ignore_errors=True)
