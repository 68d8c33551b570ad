"""Images from a tree, ``train/<class>/*`` and ``test/<class>/*``, decoded and cached."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bncore.data import cache
from bncore.data.arrays import DataError, ImageArrays, Progress, class_balanced_order
from bncore.data.picture import DECODING, read_picture
from bncore.data.tree import Listing, Tree, list_tree


def load_folder(
    path: Path, progress: Progress | None = None, *, image_size: int | None = None, side: int | None = None
) -> ImageArrays:
    """The images of a tree, decoded at the first call and read from the cache afterwards.

    The cache's key is the list of files with their sizes and times, so a changed tree is decoded again.

    Arguments:
        image_size: what the shorter side is resized to before the square in the centre is taken.
        side: pixels along each side that the network takes; default: any.

    Raises:
        DataError: the tree is incomplete or cannot be read, or holds an image that is damaged or of another size.
    """
    try:
        tree = list_tree(path)
        name = "folder-" + _key(tree, image_size)
    except OSError as error:
        raise DataError(f"{error.filename}: {error.strerror}; expected files that can be read") from error
    if side is not None:
        _check_side(next(iter(tree.train.values()))[0], image_size, side)
    arrays = cache.recall(name)
    if arrays is None:
        cache.make_folder()  # before the decoding, which takes long
        first = next(iter(tree.train.values()))[0]
        train, test = (_decode(files, first, image_size, progress) for files in (tree.train, tree.test))
        arrays = ImageArrays(*train, *test, tree.classes)
        cache.store(name, arrays)
    notices = tree.notices()
    if image_size is not None:
        size = f"{image_size}x{image_size}"
        notices += (f"{path}: pictures are resized (shorter side, antialiased) and cropped to {size}",)
    return replace(arrays, skipped=tree.skipped, notices=notices)


def _check_side(file: Path, image_size: int | None, side: int) -> None:
    """Refuse pictures that the network does not take, before all of them are decoded."""
    _, height, width = read_picture(file, image_size).shape
    if (width, height) != (side, side):
        raise DataError(
            f"{file}: {width}x{height} pixels; expected {side}x{side}, which this network takes: "
            f"data.image_size = {side} resizes and crops them"
        )


def _key(tree: Tree, image_size: int | None) -> str:
    read = f"{tree.path.resolve()}\0{DECODING}\0{image_size}"
    digest = hashlib.sha256(read.encode(errors="surrogateescape"))
    for classes in (tree.train, tree.test):
        for files in classes.values():
            for file in files:
                stat = file.stat()
                name = "/".join(file.parts[-3:])
                digest.update(f"{name} {stat.st_size} {stat.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:24]


def _decode(
    split: Listing, like: Path, image_size: int | None, progress: Progress | None
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    files = [(file, label) for label, group in enumerate(split.values()) for file in group]
    labels = np.array([label for _, label in files], dtype=np.int64)
    first = read_picture(like, image_size)
    images = np.empty((len(files), *first.shape), dtype=np.uint8)
    for i, (file, _) in enumerate(files):
        image = read_picture(file, image_size)
        if image.shape != first.shape:
            size, wanted = image.shape[:0:-1], first.shape[:0:-1]
            raise DataError(
                f"{file}: {size[0]}x{size[1]} pixels; expected {wanted[0]}x{wanted[1]} as {like}, or "
                "data.image_size, which makes all alike"
            )
        images[i] = image
        if progress is not None and (i + 1 == len(files) or i % 1000 == 999):
            progress(f"decoding {file.parent.parent.name}", i + 1, len(files))
    order = class_balanced_order(labels)
    return images[order], labels[order]
