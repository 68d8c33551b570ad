"""A chart drawn once in the terminal, by plotext."""

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
from bncore.figure import DARK_PALETTE, PALETTE, ChartData, Floats
from bntui.chart.scale import Scale
from bntui.chart.ticks import ticks
from bntui.cli.tables import Output

HEIGHT = 16
PIPED_WIDTH = 100
MOST_TICKS = 7
"""Labels beside the lines."""
SIDES = 12
"""Columns beside the plot, at most, over which no title goes."""
POINTS = 120
"""Most points a line is drawn from; of a longer one each is the mean of equally many neighbours."""
PLAIN_MARKERS = "ox+*#@%&"
"""What tells lines apart where there is no colour."""
MARKERS = ("braille", "dot", "hd", "fhd")
"""Of lines on a terminal, the first colours with the first."""
SAMPLES = {"braille": "⠒", "hd": "▀", "dot": "•", "fhd": "▌"}
"""How they look in a legend."""
COLUMNS_OF_TICK = 16
"""For each label of the axis under the lines."""
GAP = 2
"""Between two names of a legend."""
Color = str | int | tuple[int, ...]
COLORS = ("orange+", "blue+", "green+", "magenta+", "orange", "magenta", "gray+", "cyan+")
"""The terminal's own sixteen, as near to `bncore.figure.PALETTE` as they come."""


def draw(data: ChartData) -> str:
    """The lines of a chart, of bands both edges, and under them what each is, without context; empty where there
    are none."""
    lines = [
        (place, curve, x, y)
        for place, curve in enumerate(one for one in data.curves if not one.faint)
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
    plotext.limit_size(False, False)  # which else takes 80 columns for the width of what is no terminal
    plotext.plotsize(console.width, HEIGHT)
    title = Text(escape_control(data.title))
    title.truncate(max(1, console.width - SIDES), overflow="ellipsis")  # a longer one is left out
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
    for place, curve, x, y in lines:
        color, marker = look_of(curve.style, place, colors)
        plotext.plot(x.tolist(), y.tolist(), color=color, marker=marker)
        sample = SAMPLES.get(marker, marker) * 2
        label = f"★ {curve.label}" if curve.bold else curve.label
        named[escape_control(label)] = plotext.colorize(sample, color) if colors else sample
    picture = str(plotext.build()).rstrip("\n")
    picture = picture if colors else str(plotext.uncolorize(picture))
    return f"{picture}\n{_legend(named, console.width)}\n"


def look_of(style: int, place: int, colors: str | None) -> tuple[Color, str]:
    """Colour and marker of a line: in many colours those of every other picture, else the terminal's own, a colour
    that is taken again with another marker; where there is no colour a marker for each."""
    if colors is None:
        return "default", PLAIN_MARKERS[place % len(PLAIN_MARKERS)]
    if colors == "standard":
        return COLORS[style % len(COLORS)], MARKERS[style // len(COLORS) % len(MARKERS)]
    number = style % len(PALETTE)
    exact = tuple(RichColor.parse(PALETTE[number]).get_truecolor())
    return exact if colors == "truecolor" else _in_256()[number], MARKERS[
        style // len(PALETTE) % len(MARKERS)
    ]


@cache
def _in_256() -> tuple[int, ...]:
    """The palette among 256 colours; of two that are the same there, the second as it is on a dark ground."""
    found: list[int] = []
    for usual, light in zip(PALETTE, DARK_PALETTE, strict=True):
        both = (
            RichColor.parse(color).downgrade(ColorSystem.EIGHT_BIT).number or 0 for color in (usual, light)
        )
        found.append(next(number for number in both if number not in found))
    return tuple(found)


def _legend(named: dict[str, str], width: int) -> str:
    """Names behind their marks, as many on a line as it has room for."""
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
    """Where to label an axis, and with which values: round ones between the smallest and the largest; these where
    there are none.

    Arguments:
        log: whether places are logarithms.
    """
    low, high = float(places.min()), float(places.max())
    ends = (10**low, 10**high) if log else (low, high)
    found = ticks(Scale(*ends, log=log, falling=falling), most, whole=whole)
    if not found:
        return [low], [f"{ends[0]:.5g}"]
    return [math.log10(tick.value) if log else tick.value for tick in found], [tick.label for tick in found]


def _points(steps: Floats, values: Floats, *, log: bool) -> tuple[Floats, Floats]:
    """Steps and values to draw: finite ones, logarithms where requested, means of neighbours in a long line."""
    keep = np.isfinite(values) & ((values > 0) | (not log))
    x, y = steps[keep], values[keep]
    if not len(x):
        return x, y
    starts = np.arange(0, len(x), -(-len(x) // POINTS))
    sizes = np.diff(np.append(starts, len(x)))
    y = np.log10(y) if log else y
    return np.add.reduceat(x, starts) / sizes, np.add.reduceat(y, starts) / sizes
