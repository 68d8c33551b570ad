"""What lies in a tree of pictures, ``train/<class>/*`` and ``test/<class>/*``: the files to read, and all else."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bncore.config.errors import escape_control
from bncore.data.arrays import DataError
from bncore.data.picture import suffixes

Listing = dict[str, list[Path]]
"""Picture files of each class, by name."""

IN_PLACE_OF_TEST = "val"
"""The folder that is taken for ``test`` where that is missing."""

INSIDE, BESIDE = " in folders inside class folders", " beside the class folders"


@dataclass(frozen=True)
class Tree:
    """A listed tree."""

    path: Path
    train: Listing
    test: Listing
    skipped: str
    """Numbers and kinds of the files that are no part of the data; empty where there are none."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, sorted."""
        return tuple(self.train)

    def notices(self) -> tuple[str, ...]:
        """What a person should know of how the tree was taken."""
        said = []
        if (folder := next(iter(self.test.values()))[0].parent.parent).name == IN_PLACE_OF_TEST:
            said.append(f"{folder}: taken for the test set, which is missing")
        if self.skipped:
            said.append(f"{self.path}: files that are not used: {self.skipped}")
        return tuple(said)


def is_image_tree(path: Path) -> bool:
    """Whether `path` is laid out for `list_tree`, which then says what is missing in it."""
    return (path / "train").is_dir() or (path / "test").is_dir()


def list_tree(path: Path) -> Tree:
    """List a tree. Names that begin with a dot are passed over; every other file is either a picture or counted.

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
    found: Listing = {}
    for entry in _entries(split):
        if entry.is_dir():
            found[_class_name(entry)] = _pictures(entry, skipped)
        else:
            skipped[_kind(entry) + BESIDE] += 1
    empty = [name for name, files in found.items() if not files]
    if len(found) < 2 or empty:
        what = f"no images in {', '.join(empty)}" if empty else f"{len(found)} class folders"
        there = f" (there: {_in_words(skipped)})" if skipped else ""
        raise DataError(
            f"{split}: {escape_control(what)}{there}; expected at least two folders, each with images"
        )
    return found


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
    """The suffix of a file, in lower case. A link that leads nowhere has one, so that it is named when read."""
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
