"""CIFAR-10 (Krizhevsky, 2009) through torchvision: its download, its checks, its reader."""

from __future__ import annotations

import contextlib
import io
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bncore.data.arrays import ImageArrays, class_balanced_order
from bncore.data.cache import cache_dir
from bncore.data.errors import DataError

if TYPE_CHECKING:  # importing torchvision takes a second, and most runs do not need it
    from torchvision.datasets import CIFAR10

FOLDER = "cifar-10-batches-py"


def locate(path: Path | None) -> Path | None:
    """What holds ``cifar-10-batches-py``: `path` or its parent, without a path the cache; None where none does."""
    places = [cache_dir()] if path is None else [path, path.parent if path.name == FOLDER else path]
    return next((place for place in places if (place / FOLDER).is_dir()), None)


def load_cifar10(root: Path) -> ImageArrays:
    """CIFAR-10 from `root`, which holds ``cifar-10-batches-py``.

    The batch files are pickles; torchvision compares their MD5 with the published ones before it opens any, so
    nothing but the known files is ever unpickled.

    Raises:
        DataError: a file is missing or damaged.
    """
    from torchvision.datasets import CIFAR10  # noqa: PLC0415 - see above

    try:
        train, test = (CIFAR10(str(root), train=split, download=False) for split in (True, False))
    except (RuntimeError, OSError) as error:
        raise DataError(
            f"{root / FOLDER}: incomplete or damaged; expected the published CIFAR-10 files "
            "(`bnrun data fetch` downloads them)"
        ) from error
    return ImageArrays(*_arrays(train), *_arrays(test), tuple(train.classes))


def fetch(root: Path | None = None, *, timeout_s: float = 60.0) -> Path:
    """Download CIFAR-10 into `root` (default: the cache) unless it is there; the folder that holds it.

    Arguments:
        timeout_s: how long the network may be silent.

    Raises:
        DataError: the download fails, or the folder cannot be written.
    """
    from torchvision.datasets import CIFAR10  # noqa: PLC0415 - see above

    root = root or cache_dir()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _silence_limit(timeout_s), contextlib.redirect_stdout(io.StringIO()):
            CIFAR10(str(root), download=True)
    except (OSError, RuntimeError) as error:  # URLError and time-outs are OSErrors
        raise DataError(f"{root}: CIFAR-10 cannot be downloaded: {error}") from error
    return root


@contextlib.contextmanager
def _silence_limit(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _arrays(split: CIFAR10) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    labels = np.array(split.targets, dtype=np.int64)
    order = class_balanced_order(labels)
    return np.ascontiguousarray(split.data.transpose(0, 3, 1, 2)[order]), labels[order]
