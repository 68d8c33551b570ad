"""Colors and cell styles as plain integers, so that whole pictures can be compared and styled as arrays."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.style import Style

DEFAULT = 0
"""The terminal's default color."""
_ANSI = 1 << 25
_BITS = 26
_MASK = (1 << _BITS) - 1
_BOLD = 1 << (2 * _BITS)
_DIM = 1 << (2 * _BITS + 1)

RGB = tuple[int, int, int]


def rgb(red: int, green: int, blue: int) -> int:
    """The color with these components, 0 to 255 each."""
    return (red << 16 | green << 8 | blue) + 1


def from_css(name: str) -> int:
    """The color written as ``#rrggbb``."""
    return int(name[1:], 16) + 1


def ansi(number: int) -> int:
    """One of the 16 colors defined by the terminal's own theme."""
    return _ANSI | number


def parts(color: int) -> RGB | None:
    """Red, green and blue; None for a color defined by the terminal."""
    if color == DEFAULT or color & _ANSI:
        return None
    value = color - 1
    return value >> 16 & 255, value >> 8 & 255, value & 255


@lru_cache(maxsize=1024)
def blend(color: int, over: int, opacity: float) -> int:
    """`color` over another at an opacity from 0 to 1; unchanged if the terminal defines either."""
    front, back = parts(color), parts(over)
    if front is None or back is None:
        return color
    mixed = [round(b + (f - b) * opacity) for f, b in zip(front, back, strict=True)]
    return rgb(*mixed)


def gray(color: int) -> int:
    """The gray of the same brightness; a color that the terminal defines is unchanged."""
    value = parts(color)
    return color if value is None else rgb(*[round(sum(value) / 3)] * 3)


def cell_style(foreground: int, background: int = DEFAULT, *, bold: bool = False, dim: bool = False) -> int:
    return foreground | background << _BITS | bold * _BOLD | dim * _DIM


def cell_styles(foregrounds: NDArray[np.int64] | int, backgrounds: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(foregrounds, np.int64) | backgrounds << _BITS


def background_of(styles: NDArray[np.int64]) -> NDArray[np.int64]:
    return styles >> _BITS & _MASK


def with_background(styles: NDArray[np.int64], backgrounds: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """The same styles on other backgrounds."""
    return styles & ~(_MASK << _BITS) | np.asarray(backgrounds, np.int64) << _BITS


@lru_cache(maxsize=8192)
def style_of(value: int) -> Style:
    """A cell style as a Rich style."""
    return Style(
        color=_rich(value & _MASK),
        bgcolor=_rich(value >> _BITS & _MASK),
        bold=bool(value & _BOLD) or None,
        dim=bool(value & _DIM) or None,
    )


def css(color: int) -> str:
    """Name of the color in a style sheet or in markup."""
    value = parts(color)
    if value is not None:
        return "#{:02X}{:02X}{:02X}".format(*value)
    return "ansi_default" if color == DEFAULT else f"ansi_{_NAMES[color & ~_ANSI]}"


_HUES = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_NAMES = (*_HUES, *(f"bright_{hue}" for hue in _HUES))


def _rich(color: int) -> Color | None:
    value = parts(color)
    if value is not None:
        return Color.from_rgb(*value)
    return None if color == DEFAULT else Color.from_ansi(color & ~_ANSI)
