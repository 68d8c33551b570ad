"""CIFAR-10 (Krizhevsky, 2009) through torchvision: its download, its checks, its reader."""

from __future__ import annotations

import contextlib
import io
import math
import socket
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bncore.data.arrays import ImageArrays, class_balanced_order
from bncore.data.cache import cache_dir
from bncore.data.errors import DataError, DownloadError

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


def fetch(root: Path | None = None, *, silence_s: float = 60.0, limit_s: float = math.inf) -> Path:
    """Download CIFAR-10 into `root` (default: the cache) unless it is there whole; the folder that holds it.

    The download happens beside its destination and is moved there when it is whole, so that no interruption
    leaves half a data set behind. On a terminal torchvision shows its progress on stderr.

    Arguments:
        silence_s: how long, in seconds, nothing may arrive (looking up the name and connecting included).
        limit_s: how long, in seconds, all of it may take.

    Raises:
        DataError: the download fails or takes too long, or the folder cannot be written.
    """
    root = root or cache_dir()
    if _is_whole(root):
        return root
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".cifar-10-", dir=root, ignore_cleanup_errors=True) as name:
            _download(Path(name), silence_s, limit_s)
            _put(Path(name), root)
    except OSError as error:  # URLError and time-outs among them
        raise DownloadError(f"{root}: CIFAR-10 cannot be downloaded: {error}") from error
    return root


def _download(folder: Path, silence_s: float, limit_s: float) -> None:
    """Torchvision's download, in a thread that can be left behind: the look-up of a name knows no time limit.

    Raises:
        OSError: it fails, or takes too long.
    """
    failures: list[Exception] = []
    thread = threading.Thread(target=_torchvision_download, args=(folder, failures), daemon=True)
    on_terminal = sys.stderr.isatty()
    with _socket_limit(silence_s), contextlib.ExitStack() as quiet:
        quiet.enter_context(contextlib.redirect_stdout(io.StringIO()))
        if not on_terminal:
            quiet.enter_context(contextlib.redirect_stderr(io.StringIO()))
        thread.start()
        _watch(thread, folder, silence_s, limit_s)
    if failures:
        raise OSError(str(failures[0])) from failures[0]


def _torchvision_download(folder: Path, failures: list[Exception]) -> None:
    try:
        from torchvision.datasets import CIFAR10  # noqa: PLC0415 - see above

        with warnings.catch_warnings():
            # torchvision unpacks without a filter, which Python 3.12 and 3.13 deprecate; it has checked the MD5.
            warnings.filterwarnings("ignore", "Python 3.14 will", DeprecationWarning)
            CIFAR10(str(folder), download=True)
    except Exception as error:  # whatever it is, it belongs to the thread that waits
        failures.append(error)


def _watch(thread: threading.Thread, folder: Path, silence_s: float, limit_s: float) -> None:
    """Wait for the download to end.

    Raises:
        TimeoutError: nothing arrived for `silence_s`, or it takes longer than `limit_s`.
    """
    begun = heard = time.monotonic()
    size = 0
    while thread.is_alive():
        thread.join(0.05)
        now, before = time.monotonic(), size
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        if size != before:
            heard = now
        if now - heard > silence_s:
            raise TimeoutError(f"nothing arrived for {silence_s:g} s")
        if now - begun > limit_s:
            raise TimeoutError(f"not done after {limit_s:g} s")


def _is_whole(root: Path) -> bool:
    try:
        load_cifar10(root)
    except DataError:
        return False
    return True


def _put(fresh: Path, root: Path) -> None:
    """Move a whole download to where it belongs, in place of one that is damaged."""
    if _is_whole(root):  # another process was faster
        return
    with contextlib.suppress(FileNotFoundError):
        (root / FOLDER).rename(fresh / "damaged")
    (fresh / FOLDER).rename(root / FOLDER)


@contextlib.contextmanager
def _socket_limit(seconds: float) -> Iterator[None]:
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
