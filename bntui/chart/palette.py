"""Palettes that distinguish runs by colors safe for color-blind readers, and without colors by dash patterns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bncore.figure import DARK_PALETTE, DASHES, PALETTE, dash_of
from bntui.chart.cell_style import DEFAULT, RGB, ansi, blend, cell_style, css, from_css, gray, rgb
from bntui.chart.raster import BLANK

IN_16_COLORS = (11, 14, 10, 13, 9, 12, 7, 6)
"""ANSI color numbers closest to `bncore.figure.PALETTE`: bright yellow, cyan, green, magenta, red and blue; white,
cyan."""

HEAT: tuple[RGB, ...] = (
    (68, 1, 84),
    (65, 68, 135),
    (42, 120, 142),
    (34, 168, 132),
    (122, 209, 81),
    (253, 231, 37),
)
"""Anchors of viridis (van der Walt and Smith, 2015), whose lightness increases uniformly."""


@dataclass(frozen=True, slots=True)
class Palette:
    """Colors of a picture on one background."""

    curves: tuple[int, ...]
    background: int
    text: int
    muted: int
    """Color of labels, axis titles and other secondary elements."""
    border: int
    grid: int
    accent: int
    """Color of the focused border and of the crosshair."""
    translucent: bool
    """Whether colors can be blended; if not, faint curves are drawn with fewer dots and bands are hatched."""
    few: bool = False
    """Whether the terminal has only 256 colors, whose faintest are saturated: bands are gray."""

    def curve(self, style: int) -> int:
        return self.curves[style % len(self.curves)]

    def dash(self, style: int) -> int:
        """Index of the style's dash pattern. Styles share no combination of color and pattern until all are used;
        with many colors, the first style of each color is solid."""
        colors = len(self.curves)
        if self.translucent:
            return style // colors % len(DASHES)
        return dash_of(style, colors) if colors > 1 else style % len(DASHES)

    def faint(self, style: int) -> int:
        return blend(self.curve(style), self.background, 0.42)

    def fill(self, style: int, under: int) -> int:
        """Background of a cell inside a band, over the background it has already."""
        color = blend(self.curve(style), under, 0.2)
        return gray(color) if self.few else color

    def cell_style(self, color: int, *, bold: bool = False, dim: bool = False) -> int:
        """Cell style for a color on the palette's background."""
        return cell_style(color, self.background, bold=bold, dim=dim)

    def css(self, style: int) -> str:
        """The curve's color for a style sheet or markup, for run names beside the charts."""
        return css(self.curve(style))


@lru_cache(maxsize=16)
def true_colors(background: RGB, text: RGB, accent: RGB, *, few: bool = False) -> Palette:
    """Palette for terminals with 256 colors or more, on the theme's background."""
    dark = sum(background) < 384
    ground, letters = rgb(*background), rgb(*text)
    return Palette(
        curves=tuple(map(from_css, DARK_PALETTE if dark else PALETTE)),
        background=ground,
        text=letters,
        muted=blend(letters, ground, 0.6),
        border=blend(letters, ground, 0.32),
        grid=blend(letters, ground, 0.13),
        accent=rgb(*accent),
        translucent=True,
        few=few,
    )


ANSI = Palette(
    curves=tuple(ansi(number) for number in IN_16_COLORS),
    background=DEFAULT,
    text=DEFAULT,
    muted=DEFAULT,
    border=ansi(8),
    grid=ansi(8),
    accent=ansi(15),
    translucent=False,
)
"""Palette for terminals with 16 colors and for themes that leave all colors to the terminal."""
MONOCHROME = replace(ANSI, curves=(DEFAULT,), border=DEFAULT, grid=DEFAULT, accent=DEFAULT)
"""Palette for NO_COLOR."""
DARK = true_colors((18, 18, 18), (224, 224, 224), (1, 120, 212))
LIGHT = true_colors((250, 250, 250), (30, 30, 30), (0, 80, 160))


def dashes(pattern: int, columns: int) -> NDArray[np.bool_]:
    """(columns,) Whether the pattern, an index into `DASHES`, draws each dot column."""
    lengths = DASHES[pattern % len(DASHES)]
    if len(lengths) == 1:
        return np.ones(columns, np.bool_)
    period = np.repeat(np.arange(len(lengths)) % 2 == 0, lengths)
    return np.resize(period, columns)


def sample(pattern: int, width: int = 4) -> str:
    """A sample of a line, `width` braille characters long, to put before a name."""
    drawn = dashes(pattern, 2 * width).reshape(width, 2)
    return "".join(chr(BLANK + 0x06 * bool(left) + 0x30 * bool(right)) for left, right in drawn)
