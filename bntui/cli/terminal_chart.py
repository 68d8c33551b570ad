"""Static charts in the terminal, drawn by plotext."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import plotext
from rich.cells import cell_len
from rich.color import Color as RichColor
from rich.color import ColorSystem
from rich.text import Text

from bncore.config.errors import escape_control
from bncore.figure import DARK_PALETTE, PALETTE, ChartData, Floats, drawable
from bntui.chart.scale import Scale
from bntui.chart.ticks import ticks
from bntui.cli.tables import Output

HEIGHT = 16
PIPED_WIDTH = 100
MOST_TICKS = 7
"""Maximum number of y labels."""
SIDES = 12
"""Maximum columns beside the plot that a title cannot use."""
POINTS = 120
"""Maximum number of points drawn per line; in a longer line each is the mean of equally many neighbors."""
PLAIN_MARKERS = "ox+*#@%&"
"""Markers that distinguish lines without colors."""
MARKERS = ("braille", "dot", "hd", "fhd")
"""Markers of colored lines; each goes through all colors before the next one is used."""
SAMPLES = {"braille": "⠒", "hd": "▀", "dot": "•", "fhd": "▌"}
"""Samples of the markers for the legend."""
COLUMNS_OF_TICK = 16
"""Columns per x label."""
GAP = 2
"""Cells between two legend entries."""
Color = str | int | tuple[int, ...]
COLORS = ("orange+", "blue+", "green+", "magenta+", "orange", "magenta", "gray+", "cyan+")
"""Colors of the terminal's own sixteen closest to `bncore.figure.PALETTE`."""


def draw(data: ChartData) -> str:
    """A chart with its lines, both edges of its bands, and a legend below, without faint context curves; empty if
    there is nothing to draw."""
    lines = [
        (index, curve, x, y)
        for index, curve in enumerate(one for one in data.curves if not one.faint)
        for edge in ((curve.low,) if curve.is_line else (curve.high, curve.low))
        for x, y in (_points(curve.x, edge, log=data.log_y),)
        if len(x)
    ]
    if not lines:
        return ""
    console = Output(piped_width=PIPED_WIDTH)
    colors = None if console.no_color else console.color_system
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.limit_size(False, False)  # plotext assumes 80 columns where there is no terminal
    plotext.plotsize(console.width, HEIGHT)
    title = Text(escape_control(data.title))
    title.truncate(max(1, console.width - SIDES), overflow="ellipsis")  # plotext omits a longer one
    plotext.title(title.plain.strip())
    plotext.xlabel(data.x_name)
    x, y = (np.concatenate(values) for values in list(zip(*lines, strict=True))[2:])
    wide = console.width // COLUMNS_OF_TICK
    plotext.xticks(*_ticks(x, wide, falling=data.falling, whole=data.x_name == "step"))
    if data.y_span is not None:
        y = np.log10(data.y_span) if data.log_y else np.array(data.y_span)
        plotext.ylim(*y.tolist())
    plotext.yticks(*_ticks(y, MOST_TICKS, log=data.log_y))
    named: dict[str, str] = {}
    for index, curve, x, y in lines:
        color, marker = look_of(curve.style, index, colors)
        plotext.plot(x.tolist(), y.tolist(), color=color, marker=marker)
        sample = SAMPLES.get(marker, marker) * 2
        label = f"★ {curve.label}" if curve.bold else curve.label
        named[escape_control(label)] = plotext.colorize(sample, color) if colors else sample
    picture = str(plotext.build()).rstrip("\n")
    picture = picture if colors else str(plotext.uncolorize(picture))
    return f"{picture}\n{_legend(named, console.width)}\n"


def look_of(style: int, index: int, colors: str | None) -> tuple[Color, str]:
    """Color and marker of a line: with many colors, those of all other pictures; with sixteen, the terminal's own,
    repeated with other markers; without colors, a marker for each line."""
    if colors is None:
        return "default", PLAIN_MARKERS[index % len(PLAIN_MARKERS)]
    if colors == "standard":
        return COLORS[style % len(COLORS)], MARKERS[style // len(COLORS) % len(MARKERS)]
    number = style % len(PALETTE)
    exact = tuple(RichColor.parse(PALETTE[number]).get_truecolor())
    return exact if colors == "truecolor" else _in_256()[number], MARKERS[
        style // len(PALETTE) % len(MARKERS)
    ]


@cache
def _in_256() -> tuple[int, ...]:
    """The palette in 256 colors; if two entries coincide, the second takes its variant for dark backgrounds."""
    numbers: list[int] = []
    for usual, light in zip(PALETTE, DARK_PALETTE, strict=True):
        both = (
            RichColor.parse(color).downgrade(ColorSystem.EIGHT_BIT).number or 0 for color in (usual, light)
        )
        numbers.append(next(number for number in both if number not in numbers))
    return tuple(numbers)


def _legend(named: dict[str, str], width: int) -> str:
    """Legend entries, as many per line as fit."""
    lines, room = [""], width
    for name, mark in named.items():
        cells = 2 + 1 + cell_len(name) + GAP
        if cells > room and lines[-1]:
            lines.append("")
            room = width
        lines[-1] += f"{mark} {name}{' ' * GAP}"
        room -= cells
    return "\n".join(line.rstrip() for line in lines)


def _ticks(
    places: Floats, most: int, *, log: bool = False, falling: bool = False, whole: bool = False
) -> tuple[list[float], list[str]]:
    """Positions and labels of ticks: round values between the smallest and the largest, or the smallest alone if
    there are none.

    Arguments:
        log: whether `places` are decimal logarithms.
    """
    low, high = float(places.min()), float(places.max())
    ends = (10**low, 10**high) if log else (low, high)
    marks = ticks(Scale(*ends, log=log, falling=falling), most, whole=whole)
    if not marks:
        return [low], [f"{ends[0]:.5g}"]
    return [math.log10(tick.value) if log else tick.value for tick in marks], [tick.label for tick in marks]


def _points(steps: Floats, values: Floats, *, log: bool) -> tuple[Floats, Floats]:
    """Steps and values to draw: finite points, as logarithms if requested; long lines are averaged in pieces."""
    keep = np.isfinite(drawable(values, log=log))
    x, y = steps[keep], values[keep]
    if not len(x):
        return x, y
    starts = np.arange(0, len(x), -(-len(x) // POINTS))
    sizes = np.diff(np.append(starts, len(x)))
    y = np.log10(y) if log else y
    return np.add.reduceat(x, starts) / sizes, np.add.reduceat(y, starts) / sizes
