"""The directory of an observed run."""

from __future__ import annotations

import errno
from typing import Any

import orjson
import tomli_w
import torch

from bncore.store.errors import StoreError
from bncore.store.files import replace_file
from bncore.store.paths import RunDir
from bncore.train.environment import environment


def make_directory(run: RunDir) -> None:
    """Create the run directory; if its parent is new or empty, make that a sweep directory.

    Raises:
        StoreError: the directory is not empty, or cannot be written.
    """
    parent = run.path.parent
    try:
        fresh = not parent.exists() or not any(parent.iterdir())
        run.path.mkdir(parents=True, exist_ok=True)
        if any(run.path.iterdir()):
            advice = "choose another, or remove it (bnrun rm)"
            raise FileExistsError(errno.EEXIST, f"exists and is not an empty directory; {advice}")
        run.inbox.mkdir()
        if fresh:
            run.sweep.sweep_file.write_text(
                tomli_w.dumps({"notes": ["observed training loops"], "queue": []})
            )
    except OSError as error:
        raise StoreError(f"{run.path}: cannot be written: {error.strerror}") from error


def write_meta(run: RunDir, device: str, layers: list[str] | None = None) -> None:
    """Write meta.json, including the layers' names once they are known."""
    meta: dict[str, Any] = environment(torch.device(device))
    meta["data"] = {"source": "observed"}
    if layers is not None:
        meta["layers"] = layers
    replace_file(run.meta_file, orjson.dumps(meta, option=orjson.OPT_INDENT_2))
