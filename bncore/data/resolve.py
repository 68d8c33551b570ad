"""Resolution of the image source, done once before any run starts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bncore.config.errors import escape_control
from bncore.config.model import ImageData
from bncore.data import cifar
from bncore.data.arrays import DataError, ImageArrays, Progress
from bncore.data.folder import is_image_tree, load_folder
from bncore.data.synthetic import synthetic_images

SILENCE_S, LIMIT_S = 5.0, 300.0
"""Seconds without data, and in total, that `auto` allows a download before it falls back to the synthetic set."""


@dataclass(frozen=True)
class ResolvedSource:
    """A resolved image source."""

    data: ImageData
    """The data settings of the runs' specs, with source, absolute path and fingerprint."""
    title: str
    """Name of the data in figures."""
    samples: int
    """Number of training images."""
    outputs: int
    """Number of classes."""
    warning: str = ""
    """Warning to be shown on screen and journaled; empty if there is nothing to report."""


def title_of(source: str, path: str | None) -> str:
    """Name of the data in figures, so that none passes one data set off as another."""
    if source == "cifar10":
        return "CIFAR-10"
    if source == "folder" and path is not None:
        return f"the image folder {Path(path).name!r}"
    return "synthetic images" if source == "synthetic" else "Gaussian regression"


def resolve_source(
    data: ImageData, progress: Progress | None = None, *, side: int | None = None
) -> ResolvedSource:
    """Resolve the images: those the spec names, else CIFAR-10 on disk, else downloaded, else synthetic.

    A given folder without images is an error, never a reason to fall back.

    Arguments:
        side: image side, in pixels, that the networks require; default: any.

    Raises:
        DataError: the requested images are unavailable or damaged.
    """
    path = _folder_named(data)
    warning = ""
    source, folder = _on_disk(data, path)
    if source == "auto":
        try:
            folder = cifar.fetch(silence_s=SILENCE_S, limit_s=LIMIT_S, progress=progress)
            source = "cifar10"
        except DataError as error:
            source = "synthetic"
            warning = f"training on SYNTHETIC images, not on CIFAR-10 ({error})"
    elif source == "cifar10" and folder is None:
        folder = cifar.fetch(path, progress=progress)
    where = None if folder is None else str(folder.resolve())
    chosen = data.model_copy(update={"source": source, "path": where})
    arrays = _READERS[source](chosen, side, progress)
    fingerprint = arrays.check(data.fingerprint, "data.fingerprint: the images are")
    resolved = chosen.model_copy(update={"fingerprint": fingerprint})
    warning = "; ".join(filter(None, (warning, *arrays.notices)))
    title = title_of(source, resolved.path)
    return ResolvedSource(resolved, title, len(arrays.train_images), len(arrays.classes), warning)


def describe_source(data: ImageData) -> str:
    """Describe what `resolve_source` would choose, without reading or downloading anything.

    Raises:
        DataError: the given folder contains no images.
    """
    path = _folder_named(data)
    source, folder = _on_disk(data, path)
    if source == "auto":
        return "CIFAR-10 if it can be downloaded, else synthetic images"
    if source == "cifar10" and folder is None:
        return "CIFAR-10, to be downloaded"
    return title_of(source, None if folder is None else str(folder))


def read_images(data: ImageData, progress: Progress | None = None) -> ImageArrays:
    """The images of a resolved spec.

    Raises:
        DataError: the images are gone, damaged, or differ from the resolved ones.
    """
    arrays = _READERS[data.source](data, None, progress)
    changed = "the images have changed, or this version reads them differently: fingerprint"
    arrays.check(data.fingerprint, f"{data.path or data.source}: {changed}")
    return arrays


def _folder_named(data: ImageData) -> Path | None:
    """The folder that `data.path` names, absolute and with links resolved.

    Raises:
        DataError: it is not a valid path, or the folder's name is not UTF-8 and cannot be stored in a
            specification.
    """
    if data.path is None:
        return None
    try:
        path = Path(data.path).expanduser().resolve()
        with suppress(FileNotFoundError, NotADirectoryError):
            path.stat()
    except (OSError, ValueError, RuntimeError) as error:  # too long, a null byte, links in a circle, no home
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{data.path}: {reason}; expected a folder") from error
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise DataError(
            f"{escape_control(str(path))}: this name is not UTF-8; expected a folder with a name in UTF-8"
        ) from None
    return path


def _on_disk(data: ImageData, path: Path | None) -> tuple[str, Path | None]:
    """The source and its folder as far as the disk decides them, else ("auto", None)."""
    if data.source == "synthetic":
        return "synthetic", None
    if data.source in ("auto", "cifar10"):
        root = cifar.locate(path)
        if root is not None or data.source == "cifar10":
            return "cifar10", root
    if path is None:
        return "auto", None
    if is_image_tree(path):
        return "folder", path
    raise DataError(
        f"{path}: no images there; expected a folder with {cifar.FOLDER}, or with train/<class>/ and test/<class>/"
    )


def _cifar(data: ImageData, _side: int | None, _progress: Progress | None) -> ImageArrays:
    if data.path is None:
        raise DataError("data.path: missing; expected the folder that holds CIFAR-10")
    return cifar.load_cifar10(Path(data.path))


def _folder(data: ImageData, side: int | None, progress: Progress | None) -> ImageArrays:
    if data.path is None:
        raise DataError("data.path: missing; expected a folder with train/<class>/ and test/<class>/")
    return load_folder(Path(data.path), progress, image_size=data.image_size, side=side)


_READERS: dict[str, Callable[[ImageData, int | None, Progress | None], ImageArrays]] = {
    "cifar10": _cifar,
    "folder": _folder,
    "synthetic": lambda data, _side, _progress: synthetic_images(by_class=data.background == "by_class"),
}
"""Readers of the resolved image sources. To add a source, write a function and add a row."""
