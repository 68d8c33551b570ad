"""Figures as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from bncore.figure import Picture
from bncore.report.drawing import picture_png, picture_svg
from bncore.store.errors import StoreError
from bncore.store.files import write_out

Kind = Literal["svg", "png"]


def save_pictures(pictures: Sequence[Picture], folder: Path, kind: Kind) -> list[Path]:
    """Write each picture as ``<name>.<kind>`` into `folder`, which is made; what has that name is replaced.

    Raises:
        StoreError: the folder or a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written: {error.strerror}") from error
    paths = [folder / f"{picture.name}.{kind}" for picture in pictures]
    for picture, path in zip(pictures, paths, strict=True):
        write_out(path, content(picture, kind))
    return paths


def content(picture: Picture, kind: Kind) -> bytes:
    """The picture as a file."""
    return picture_svg(picture).encode() if kind == "svg" else picture_png(picture)
