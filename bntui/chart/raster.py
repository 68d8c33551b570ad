"""Column ranges as dots, and dots as braille characters: 2 x 4 dots per cell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bncore.figure import Floats

Dots = NDArray[np.bool_]
"""(4 h, 2 w): whether a dot is lit, row 0 at the top."""
Bits = NDArray[np.uint8]
"""(h, w): the dots of each cell in braille numbering."""

BLANK = 0x2800
"""The braille character without a dot; adding a cell's bits gives its character."""
_LEFT, _RIGHT = (0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80)
"""Bits of a cell's dots, from top to bottom, in its left and right columns."""


def _columns(bits: tuple[int, ...]) -> Bits:
    """(16,) Braille bits for each pattern of a column of four dots; the top dot is the pattern's highest bit."""
    sums = [sum(bit for i, bit in enumerate(bits) if lit >> (3 - i) & 1) for lit in range(16)]
    return np.array(sums, np.uint8)


_LEFTS, _RIGHTS = _columns(_LEFT), _columns(_RIGHT)
_TOLERANCE = 1e-9


def rows_of(fractions: Floats, height: int) -> NDArray[np.int32]:
    """Row of dots, counted from the top, that contains a fraction of the axis (0 bottom, 1 top).

    Fractions outside [0, 1] map to row `height` (below) or -1 (above); NaN maps to `height`.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        row = np.floor((1.0 - fractions) * height)
        row = np.where(fractions > 1 + _TOLERANCE, -1, np.clip(row, 0, height - 1))
        return np.where(fractions >= -_TOLERANCE, row, height).astype(np.int32)


def line_dots(low: Floats, high: Floats, height: int) -> Dots:
    """Dots of a line that extends from `low` to `high` (fractions of the axis) in each column."""
    top, bottom = _reach(low, high, height)
    rows = np.arange(height, dtype=np.int32)[:, None]
    return np.asarray((rows >= top) & (rows <= bottom))


def covered(low: Floats, high: Floats, height: int) -> NDArray[np.int32]:
    """(h, w): number of dots in each cell that `line_dots` lights."""
    top, bottom = _reach(low, high, height)
    first = np.arange(0, height, 4, dtype=np.int32)[:, None]
    lit = np.maximum(np.minimum(bottom, first + 3) - np.maximum(top, first) + 1, 0)
    return np.asarray(lit[:, 0::2] + lit[:, 1::2])


def _reach(low: Floats, high: Floats, height: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Top and bottom row of each column; in an empty column the top row is below the bottom row."""
    top, bottom = rows_of(np.stack([high, low]), height)
    bottom[np.isnan(low)] = -1
    return top, bottom


def band_dots(low: Floats, high: Floats, height: int) -> tuple[Dots, Dots]:
    """Dots of a band's edges, and of its interior.

    Edges are connected from column to column inside the band, so no dot lies outside it.
    """
    filled: Dots = line_dots(low, high, height)
    inside = np.zeros_like(filled)
    inside[1:-1] = filled[1:-1] & filled[:-2] & filled[2:]
    with np.errstate(invalid="ignore"):  # where the view cuts the band, there is no edge
        inside[0] = filled[0] & (high > 1 + _TOLERANCE)
        inside[-1] = filled[-1] & (low < -_TOLERANCE)
    continues = filled | ~filled.any(axis=0)  # nor at the band's two ends
    inside[:, 1:] &= continues[:, :-1]
    inside[:, :-1] &= continues[:, 1:]
    return filled & ~inside, inside


def braille_bits(dots: Dots) -> Bits:
    """(4 h, 2 w) dots as (h, w) bits."""
    height = dots.shape[0] // 4
    pairs = np.packbits(dots, axis=0)  # eight rows per byte: two cells of four
    fours = np.stack([pairs >> 4, pairs & 15], axis=1).reshape(-1, dots.shape[1])[:height]
    return _LEFTS[fours[:, 0::2]] | _RIGHTS[fours[:, 1::2]]


def dashed(dots: Dots, pattern: NDArray[np.bool_]) -> Dots:
    """Dots that remain under a dash pattern; in its gaps only the ends of tall columns do.

    Spikes carry information, so their ends stay; an isolated column stays whole.

    Arguments:
        dots: (4 h, 2 w)
        pattern: (2 w,) whether each column is drawn.
    """
    present: NDArray[np.bool_] = np.any(dots, axis=0)
    alone = np.array(present)
    alone[1:] &= ~present[:-1]
    alone[:-1] &= ~present[1:]
    ends = np.copy(dots)
    ends[1:-1] &= ~(dots[:-2] & dots[2:])
    ends[:, dots.sum(axis=0) < 6] = False
    return np.asarray(np.where(pattern | alone, dots, ends))
