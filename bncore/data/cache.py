"""Cache of decoded images, one uint8 file per set, so that a tree of JPEGs is decoded only once."""

from __future__ import annotations

import contextlib
import os
import zipfile
from pathlib import Path
from uuid import uuid4

import numpy as np

from bncore.data.arrays import ARRAYS, DataError, ImageArrays
from bncore.plain_files import open_plain


def cache_dir() -> Path:
    """``$BNRUN_CACHE``, else ``$XDG_CACHE_HOME/bnrun``, else ``~/.cache/bnrun``."""
    if explicit := os.environ.get("BNRUN_CACHE"):
        return Path(explicit)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bnrun"


def make_folder() -> None:
    """Create the cache folder.

    Raises:
        DataError: the folder cannot be created; names the variable that relocates it.
    """
    try:
        cache_dir().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(cache_dir(), error) from error


def _unwritable(path: Path, error: OSError) -> DataError:
    return DataError(
        f"{path}: the decoded images cannot be cached: {error.strerror}; expected a writable folder with "
        "space: set BNRUN_CACHE to one"
    )


def store(name: str, arrays: ImageArrays) -> None:
    """Write `arrays` under `name` atomically.

    Raises:
        DataError: the cache cannot be written; names the variable that relocates it.
    """
    path = cache_dir() / f"{name}.npz"
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")  # process ids are not unique in a shared home
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            np.savez(file, **{name: getattr(arrays, name) for name in (*ARRAYS, "classes")})
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise _unwritable(path, error) from error


def recall(name: str) -> ImageArrays | None:
    """The arrays stored under `name`; None if they are missing or damaged (each array carries a CRC).

    A damaged archive can raise any of the errors caught here; the images are then decoded again.
    """
    path = cache_dir() / f"{name}.npz"
    try:
        # Opened here because np.load leaves the file of a broken archive open.
        with open_plain(path) as file, np.load(file, allow_pickle=False) as stored:
            images_and_labels = {name: stored[name] for name in ARRAYS}
            return ImageArrays(**images_and_labels, classes=tuple(map(str, stored["classes"])))
    except (OSError, ValueError, KeyError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile):
        return None
