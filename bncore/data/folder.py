"""Images from a tree, ``train/<class>/*`` and ``test/<class>/*``, decoded and cached; other files are counted."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bncore.config.errors import escape_control
from bncore.data import cache
from bncore.data.arrays import DataError, ImageArrays, Progress, class_balanced_order
from bncore.data.picture import DECODING, read_picture, suffixes

Listing = dict[str, list[Path]]
"""Image files by class name."""

IN_PLACE_OF_TEST = "val"
"""Folder that stands in for a missing ``test``."""

INSIDE, BESIDE = " in folders inside class folders", " beside the class folders"


@dataclass(frozen=True)
class Tree:
    """The listing of an image tree."""

    path: Path
    train: Listing
    test: Listing
    skipped: str
    """Numbers and kinds of the files that are not part of the data; empty if there are none."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, sorted."""
        return tuple(self.train)

    def notices(self) -> tuple[str, ...]:
        """Remarks about how the tree was read."""
        remarks = []
        if (folder := next(iter(self.test.values()))[0].parent.parent).name == IN_PLACE_OF_TEST:
            remarks.append(f"{folder}: taken for the test set, which is missing")
        if self.skipped:
            remarks.append(f"{self.path}: files that are not used: {self.skipped}")
        return tuple(remarks)


def is_image_tree(path: Path) -> bool:
    """Whether `path` looks like an image tree; `list_tree` then reports what is missing in it."""
    return (path / "train").is_dir() or (path / "test").is_dir()


def list_tree(path: Path) -> Tree:
    """List an image tree. Names starting with a dot are ignored; every other file is either an image or counted.

    Raises:
        DataError: the tree is incomplete, or a class has a name that is not UTF-8.
        OSError: a folder cannot be read.
    """
    skipped: Counter[str] = Counter()
    test = path / "test"
    if not test.is_dir() and (path / IN_PLACE_OF_TEST).is_dir():
        test = path / IN_PLACE_OF_TEST
    for_training, for_test = (_list(split, skipped) for split in (path / "train", test))
    odd = sorted(set(for_training) ^ set(for_test))
    if odd:
        names = escape_control(", ".join(odd))
        raise DataError(
            f"{path}: train and {test.name} hold different classes ({names}); expected the same in both"
        )
    return Tree(path, for_training, for_test, _in_words(skipped))


def _list(split: Path, skipped: Counter[str]) -> Listing:
    if not split.is_dir():
        raise DataError(f"{split}: missing; expected train/<class>/ and test/<class>/ with images in them")
    listing: Listing = {}
    for entry in _entries(split):
        if entry.is_dir():
            listing[_class_name(entry)] = _pictures(entry, skipped)
        else:
            skipped[_kind(entry) + BESIDE] += 1
    empty = [name for name, files in listing.items() if not files]
    if len(listing) < 2 or empty:
        what = f"no images in {', '.join(empty)}" if empty else f"{len(listing)} class folders"
        there = f" (there: {_in_words(skipped)})" if skipped else ""
        raise DataError(
            f"{split}: {escape_control(what)}{there}; expected at least two folders, each with images"
        )
    return listing


def _class_name(folder: os.DirEntry[str]) -> str:
    try:
        folder.name.encode()
    except UnicodeEncodeError:
        where = escape_control(folder.path)
        raise DataError(
            f"{where}: the name of this class is not UTF-8; expected a folder with a name in UTF-8"
        ) from None
    return folder.name


def _pictures(folder: os.DirEntry[str], skipped: Counter[str]) -> list[Path]:
    files = []
    for entry in _entries(Path(folder.path)):
        if entry.is_dir():
            skipped.update(_inner(entry.path))
        elif (kind := _kind(entry)) in suffixes():
            files.append(Path(entry.path))
        else:
            skipped[kind] += 1
    return files


def _inner(folder: str) -> Iterator[str]:
    """The kind of every file below a folder inside a class folder."""
    for where, _, names in os.walk(folder):
        for name in names:
            if not name.startswith("."):
                yield _suffix(Path(where) / name) + INSIDE


def _kind(entry: os.DirEntry[str]) -> str:
    """The file's suffix in lower case, even of a dangling link, so that reading it reports its name."""
    if entry.is_file() or (entry.is_symlink() and not Path(entry.path).exists()):
        return _suffix(Path(entry.path))
    return "that are no plain files"


def _suffix(file: Path) -> str:
    return file.suffix.lower() or "without a suffix"


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted((e for e in entries if not e.name.startswith(".")), key=lambda entry: entry.name)


def _in_words(skipped: Counter[str]) -> str:
    return escape_control(", ".join(f"{skipped[kind]} {kind}" for kind in sorted(skipped)))


def load_folder(
    path: Path, progress: Progress | None = None, *, image_size: int | None = None, side: int | None = None
) -> ImageArrays:
    """The images of a tree, decoded on the first call and read from the cache afterwards.

    The cache key covers the list of files with their sizes and times, so a changed tree is decoded again.

    Arguments:
        image_size: length, in pixels, to which the shorter side is resized before the center square is cropped.
        side: image side, in pixels, that the network requires; default: any.

    Raises:
        DataError: the tree is incomplete or unreadable, or contains an image that is damaged or of another size.
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
        cache.make_folder()  # fail early: decoding takes long
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
    """Refuse images of a size that the network does not accept, before all of them are decoded."""
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
