"""What tells runs apart: colours that colour-blind eyes can part; dash patterns where there is no colour."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bncore.figure import DARK_PALETTE, DASHES, PALETTE, dash_of
from bntui.chart.cell_style import DEFAULT, RGB, ansi, blend, cell_style, css, from_css, rgb
from bntui.chart.raster import BLANK

IN_16_COLORS = (11, 14, 10, 13, 9, 12, 7, 6)
"""Of the terminal's own, as near to `bncore.figure.PALETTE` as they come: bright yellow, cyan, green, magenta, red
and blue; white, cyan."""

HEAT: tuple[RGB, ...] = (
    (68, 1, 84),
    (65, 68, 135),
    (42, 120, 142),
    (34, 168, 132),
    (122, 209, 81),
    (253, 231, 37),
)
"""Anchors of viridis (van der Walt and Smith, 2015), whose lightness rises evenly."""


@dataclass(frozen=True, slots=True)
class Palette:
    """Every colour of a picture, on one background."""

    curves: tuple[int, ...]
    background: int
    text: int
    muted: int
    """Of labels, titles of axes and what is less important than the curves."""
    border: int
    grid: int
    accent: int
    """Of the border of what has the focus, and of the crosshair."""
    translucent: bool
    """Whether colours can be mixed; else what is faint is drawn with fewer dots, and bands are hatched."""

    def curve(self, style: int) -> int:
        return self.curves[style % len(self.curves)]

    def dash(self, style: int) -> int:
        """Index of the style's dash pattern: of many styles no two have colour and pattern in common, and where
        there are many colours the first style of each is solid."""
        colors = len(self.curves)
        if self.translucent:
            return style // colors % len(DASHES)
        return dash_of(style, colors) if colors > 1 else style % len(DASHES)

    def faint(self, style: int) -> int:
        return blend(self.curve(style), self.background, 0.42)

    def fill(self, style: int, under: int) -> int:
        """The background of a cell inside of a band, over what lies there already."""
        return blend(self.curve(style), under, 0.2)

    def ink(self, color: int, *, bold: bool = False, dim: bool = False) -> int:
        """What is written in a colour, on the background."""
        return cell_style(color, self.background, bold=bold, dim=dim)

    def css(self, style: int) -> str:
        """The curve's colour for a style sheet or for markup, where the run is named beside the charts."""
        return css(self.curve(style))


@lru_cache(maxsize=16)
def true_colors(background: RGB, text: RGB, accent: RGB) -> Palette:
    """For terminals of 256 colours or more, on the background that the theme gives."""
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
"""For terminals of 16 colours and for themes that leave all colours to the terminal."""
MONOCHROME = replace(ANSI, curves=(DEFAULT,), border=DEFAULT, grid=DEFAULT, accent=DEFAULT)
"""For NO_COLOR."""
DARK = true_colors((18, 18, 18), (224, 224, 224), (1, 120, 212))
LIGHT = true_colors((250, 250, 250), (30, 30, 30), (0, 80, 160))


def dashes(pattern: int, columns: int) -> NDArray[np.bool_]:
    """Which of the dot columns the pattern, an index into `DASHES`, draws, (columns,)."""
    lengths = DASHES[pattern % len(DASHES)]
    if len(lengths) == 1:
        return np.ones(columns, np.bool_)
    period = np.repeat(np.arange(len(lengths)) % 2 == 0, lengths)
    return np.resize(period, columns)


def sample(pattern: int, width: int = 4) -> str:
    """A piece of a line, `width` braille characters long, to stand before a name."""
    drawn = dashes(pattern, 2 * width).reshape(width, 2)
    return "".join(chr(BLANK + 0x06 * bool(left) + 0x30 * bool(right)) for left, right in drawn)
