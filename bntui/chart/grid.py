"""A rectangle of cells, each with a character and a style, and its rows as Textual strips."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from rich.cells import get_character_cell_size
from rich.segment import Segment
from textual.strip import Strip

from bntui.chart.cell_style import background_of, style_of

SPACE = ord(" ")
CONTINUATION = 0
"""Marks the second cell of a wide character."""


@lru_cache(maxsize=1024)
def cells(text: str) -> tuple[int, ...]:
    """The text as one code point per cell; zero-width characters (combining and control) are dropped."""
    if text.isascii() and text.isprintable():
        return tuple(text.encode())
    result: list[int] = []
    for character in text:
        width = get_character_cell_size(character) if character.isprintable() else 0
        if width:
            result += [ord(character), *[CONTINUATION] * (width - 1)]
    return tuple(result)


def fitted(text: str, width: int) -> str:
    """The text, cut to at most `width` cells, with an ellipsis if it was cut."""
    codes = cells(text)
    if len(codes) <= width:
        return text
    visible = codes[: max(0, width - 1)]
    if visible and codes[len(visible)] == CONTINUATION:
        visible = visible[:-1]
    return "".join(map(chr, filter(None, visible))) + "…" * (width > 0)


def fitted_title(title: str, width: int) -> str:
    """The title, without the details after commas that do not fit, the last first."""
    head, _, detail = title.rpartition(", ")
    if len(cells(title)) <= width or not head or " · " in detail:
        return fitted(title, width)
    return fitted_title(head, width)


class Grid:
    """Characters (h, w) and styles (h, w) of a picture being drawn."""

    def __init__(self, width: int, height: int, cell_style: int) -> None:
        self.characters: NDArray[np.uint32] = np.full((height, width), SPACE, np.uint32)
        self.styles: NDArray[np.int64] = np.full((height, width), cell_style, np.int64)

    @property
    def width(self) -> int:
        return int(self.characters.shape[1])

    @property
    def height(self) -> int:
        return int(self.characters.shape[0])

    def copy(self) -> Grid:
        """A copy to draw on."""
        copy = object.__new__(Grid)
        copy.characters, copy.styles = self.characters.copy(), self.styles.copy()
        return copy

    def write(self, row: int, column: int, text: str, cell_style: int) -> int:
        """Write as much of the text as fits from `column` to the right end; return the column after it."""
        if not 0 <= row < self.height or not 0 <= column < self.width:
            return column
        codes = cells(fitted(text, self.width - column))
        self.characters[row, column : column + len(codes)] = codes
        self.styles[row, column : column + len(codes)] = cell_style
        return column + len(codes)

    def strip(self, row: int) -> Strip:
        """One row as a strip, with a segment for each stretch of one style."""
        styles = self._spread(row)
        starts = [0, *(np.flatnonzero(styles[1:] != styles[:-1]) + 1).tolist()]
        text = self.characters[row].astype("<u4").tobytes().decode("utf-32-le")
        pieces = [text[start:end] for start, end in pairwise([*starts, len(text)])]
        if "\0" in text:
            pieces = [piece.replace("\0", "") for piece in pieces]
        segments = list(map(Segment, pieces, map(style_of, styles[starts].tolist())))
        return Strip(segments, self.width)

    def _spread(self, row: int) -> NDArray[np.int64]:
        """The row's styles, where spaces take on the preceding style if only the foreground differs.

        The picture is the same, but has fewer segments and so sends fewer bytes.
        """
        styles = self.styles[row]
        needed = self.characters[row] != SPACE
        needed[0] = True
        grounds = background_of(styles)
        needed[1:] |= grounds[1:] != grounds[:-1]
        return np.asarray(styles[np.maximum.accumulate(np.where(needed, np.arange(styles.size), 0))])

    def fill(self, rows: slice | int, columns: slice | int, character: str, cell_style: int) -> None:
        """Fill these cells with one character."""
        self.characters[rows, columns] = ord(character)
        self.styles[rows, columns] = cell_style

    def plain(self) -> list[str]:
        """The characters without styles, a string for each row."""
        return ["".join(map(chr, row[row != CONTINUATION])) for row in self.characters]

    def changes(self, before: Grid | None) -> Iterator[tuple[int, int, int]]:
        """(row, first column, number of columns) of every stretch that differs from the previous grid.

        Stretches fewer than eight cells apart are joined: splitting them would cost more than sending those cells.
        """
        if before is None or before.characters.shape != self.characters.shape:
            yield from ((row, 0, self.width) for row in range(self.height))
            return
        changed = (self.characters != before.characters) | (self.styles != before.styles)
        for row in np.flatnonzero(changed.any(axis=1)).tolist():
            columns = np.flatnonzero(changed[row])
            parted = np.flatnonzero(np.diff(columns) > 8)
            firsts = columns[np.concatenate([[0], parted + 1])]
            lasts = columns[np.concatenate([parted, [columns.size - 1]])]
            for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
                yield row, first, last - first + 1
