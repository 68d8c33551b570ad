"""CIFAR-10 (Krizhevsky, 2009) through torchvision: download, checks and reader."""

from __future__ import annotations

import contextlib
import io
import math
import os
import tarfile
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bncore.data.arrays import DataError, DownloadError, ImageArrays, Progress, class_balanced_order
from bncore.data.cache import cache_dir
from bncore.data.download import Transfer, partial_file, without_secrets

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10

FOLDER = "cifar-10-batches-py"
MIRROR = "BNRUN_CIFAR10_URL"
"""Environment variable with an alternative URL of the archive."""


def _dataset() -> Any:  # torchvision has no types
    """Torchvision's class, imported late: the import takes a second, and most runs do not need it."""
    from torchvision.datasets import CIFAR10  # noqa: PLC0415 - for the reason above

    return CIFAR10


def locate(path: Path | None) -> Path | None:
    """The folder that holds ``cifar-10-batches-py``, or None.

    It is searched for in `path` and, if that is the folder itself, in its parent; without a path, in the cache.
    """
    places = [cache_dir()] if path is None else [path, path.parent if path.name == FOLDER else path]
    return next((folder for folder in places if (folder / FOLDER).is_dir()), None)


def load_cifar10(root: Path) -> ImageArrays:
    """CIFAR-10 from `root`, which holds ``cifar-10-batches-py``.

    The batch files are pickles; torchvision compares their MD5 sums with the published ones before it opens any,
    so only the known files are ever unpickled.

    Raises:
        DataError: a file is missing or damaged.
    """
    dataset = _dataset()
    try:
        train, test = (dataset(str(root), train=split, download=False) for split in (True, False))
    except (RuntimeError, OSError) as error:
        raise DataError(
            f"{root / FOLDER}: incomplete or damaged; expected the published CIFAR-10 files "
            "(`bnrun data fetch` downloads them)"
        ) from error
    return ImageArrays(*_arrays(train), *_arrays(test), tuple(train.classes))


def fetch(
    root: Path | None = None,
    *,
    silence_s: float = 60.0,
    limit_s: float = math.inf,
    progress: Progress | None = None,
) -> Path:
    """Download CIFAR-10 into `root` (default: the cache) unless it is complete there, and return that folder.

    The URL is torchvision's or ``$BNRUN_CIFAR10_URL``. The partial file is kept next to its destination, so that
    an interrupted download resumes where it stopped. Torchvision checks and unpacks the archive in a temporary
    folder, so that an interruption never leaves half a data set behind.

    Arguments:
        silence_s: longest time, in seconds, without any data (including name look-up and connecting).
        limit_s: longest duration, in seconds, of the whole download.
        progress: called with the number of bytes so far and the total.

    Raises:
        DataError: the download fails or takes too long, or the folder cannot be written.
    """
    root = root or cache_dir()
    if _is_whole(root):
        return root
    dataset = _dataset()
    transfer = Transfer(os.environ.get(MIRROR) or dataset.url, dataset.tgz_md5, silence_s)
    part = root / f".{dataset.filename}.part"
    try:
        root.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=".cifar-10-", dir=root, ignore_cleanup_errors=True)
    except OSError as error:
        raise DataError(f"{root}: {error.strerror}; expected a folder that can be written") from error
    try:
        with folder as name, partial_file(part) as (file, partial):
            _download(transfer, file, limit_s, progress)
            partial.replace(Path(name) / dataset.filename)
            _unpack(Path(name))
            _put(Path(name), root)
    except OSError as error:
        raise DownloadError(f"{root}: {_failure(error, transfer, part)}") from error
    return root


def _failure(error: OSError, transfer: Transfer, partial: Path) -> str:
    """The error message: why CIFAR-10 is unavailable, and what to do about it."""
    named = f"${MIRROR}, " if os.environ.get(MIRROR) else ""
    try:
        partial_note = f" {partial.stat().st_size:,} bytes are kept, and the next try resumes from there;"
    except OSError:
        partial_note = ""
    return (
        f"CIFAR-10 cannot be downloaded from {named}{without_secrets(transfer.url)}: {error};{partial_note} "
        f"expected the published {partial.name[1:-5]}: set {MIRROR} to the address of a mirror, or give a folder "
        f"that holds {FOLDER} (--data-dir)"
    )


def _download(transfer: Transfer, file: BinaryIO, limit_s: float, progress: Progress | None) -> None:
    """Run the transfer in a thread that can be abandoned, because name look-up has no timeout.

    Raises:
        OSError: the transfer fails or takes too long.
    """
    failures: list[Exception] = []

    def fetching() -> None:
        try:
            transfer.fetch(file)
        except Exception as error:  # re-raised in the waiting thread
            failures.append(error)

    thread = threading.Thread(target=fetching, daemon=True)
    thread.start()
    try:
        _watch(thread, transfer, limit_s, progress)
    finally:
        transfer.stopped.set()
    if failures:
        raise OSError(str(failures[0])) from failures[0]


def _watch(thread: threading.Thread, transfer: Transfer, limit_s: float, progress: Progress | None) -> None:
    """Wait for the transfer to end.

    Raises:
        TimeoutError: nothing arrived for `silence_s`, or the transfer takes longer than `limit_s`.
    """
    heard = reported_at = time.monotonic()
    size = reported = 0
    while thread.is_alive():
        thread.join(0.05)
        now, before = time.monotonic(), size
        size = transfer.received
        if size != before:
            heard = now
        due = now - reported_at > 0.5 or not thread.is_alive()
        if progress is not None and transfer.total and due and transfer.arrived != reported:
            reported_at, reported = now, transfer.arrived
            progress("downloading CIFAR-10, bytes", reported, transfer.total)
        complete = transfer.arrived == transfer.total  # only the check remains
        if now - heard > transfer.silence_s and not complete:
            raise TimeoutError(f"nothing arrived for {transfer.silence_s:g} s ({transfer.progress()})")
        if now - transfer.started > limit_s:
            raise TimeoutError(f"not done after {limit_s:g} s: {transfer.progress()}")


def _unpack(folder: Path) -> None:
    """Let torchvision check and unpack the archive in `folder`, as after its own download.

    Raises:
        OSError: torchvision rejects the archive.
    """
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        # torchvision unpacks without a filter, which Python 3.12 and 3.13 deprecate; it has checked the MD5.
        warnings.filterwarnings("ignore", "Python 3.14 will", DeprecationWarning)
        try:
            _dataset()(str(folder), download=True)
        except (RuntimeError, tarfile.TarError) as error:
            raise OSError(f"the archive is correct, but its contents are not: {error}") from error


def _is_whole(root: Path) -> bool:
    try:
        load_cifar10(root)
    except DataError:
        return False
    return True


def _put(fresh: Path, root: Path) -> None:
    """Move a complete download to its destination, replacing a damaged one."""
    if _is_whole(root):  # another process was faster
        return
    with contextlib.suppress(FileNotFoundError):
        (root / FOLDER).rename(fresh / "damaged")
    (fresh / FOLDER).rename(root / FOLDER)


def _arrays(split: CIFAR10) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    labels = np.array(split.targets, dtype=np.int64)
    order = class_balanced_order(labels)
    return np.ascontiguousarray(split.data.transpose(0, 3, 1, 2)[order]), labels[order]
