"""Images from a tree: ``train/<class>/*`` and ``test/<class>/*``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bncore.data import cache
from bncore.data.arrays import ImageArrays, class_balanced_order
from bncore.data.errors import DataError
from bncore.data.picture import DECODING, read_picture

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp"})
Progress = Callable[[str, int, int], None]
"""Told what is being done, how many are done, and how many there are."""


def is_image_tree(path: Path) -> bool:
    """Whether `path` is laid out for `load_folder`, which then says what is missing in it."""
    return (path / "train").is_dir() or (path / "test").is_dir()


def load_folder(path: Path, progress: Progress | None = None) -> ImageArrays:
    """The images of a tree, decoded at the first call and read from the cache afterwards.

    The cache's key is the list of files with their sizes and times, so a changed tree is decoded again.

    Raises:
        DataError: the tree is incomplete or cannot be read, or holds an image that is damaged or of another size.
    """
    try:
        listing = {split: _list(path / split) for split in ("train", "test")}
        name = "folder-" + _key(path, listing)
    except OSError as error:
        raise DataError(f"{error.filename}: {error.strerror}; expected files that can be read") from error
    classes = tuple(listing["train"])
    if tuple(listing["test"]) != classes:
        odd = ", ".join(sorted(set(classes) ^ set(listing["test"])))
        raise DataError(f"{path}: train and test hold different classes ({odd}); expected the same in both")
    cached = cache.recall(name)
    if cached is not None:
        return cached
    cache.make_folder()  # before the decoding, which takes long
    train, test = (_decode(files, progress) for files in listing.values())
    arrays = ImageArrays(*train, *test, classes)
    cache.store(name, arrays)
    return arrays


Listing = dict[str, list[Path]]


def _list(split: Path) -> Listing:
    """Image files of each class, by name."""
    if not split.is_dir():
        raise DataError(f"{split}: missing; expected train/<class>/ and test/<class>/ with images in them")
    folders = sorted(p for p in split.iterdir() if p.is_dir() and not p.name.startswith("."))
    found = {folder.name: sorted(f for f in folder.iterdir() if _is_image(f)) for folder in folders}
    empty = [name for name, files in found.items() if not files]
    if len(found) < 2 or empty:
        what = f"no images in {', '.join(empty)}" if empty else f"{len(found)} class folders"
        raise DataError(f"{split}: {what}; expected at least two folders, each with images")
    return found


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".")


def _key(path: Path, listing: dict[str, Listing]) -> str:
    digest = hashlib.sha256(f"{path.resolve()}\0{DECODING}".encode())
    for split, classes in listing.items():
        for files in classes.values():
            for file in files:
                stat, name = file.stat(), f"{split}/{file.parent.name}/{file.name}"
                digest.update(f"{name} {stat.st_size} {stat.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:24]


def _decode(split: Listing, progress: Progress | None) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    files = [(file, label) for label, group in enumerate(split.values()) for file in group]
    labels = np.array([label for _, label in files], dtype=np.int64)
    first = read_picture(files[0][0])
    images = np.empty((len(files), *first.shape), dtype=np.uint8)
    for i, (file, _) in enumerate(files):
        image = read_picture(file)
        if image.shape != first.shape:
            size, wanted = image.shape[:0:-1], first.shape[:0:-1]
            raise DataError(
                f"{file}: {size[0]}x{size[1]} pixels; expected {wanted[0]}x{wanted[1]} as {files[0][0]}"
            )
        images[i] = image
        if progress is not None and (i + 1 == len(files) or i % 1000 == 999):
            progress(f"decoding {file.parent.parent.name}", i + 1, len(files))
    order = class_balanced_order(labels)
    return images[order], labels[order]
