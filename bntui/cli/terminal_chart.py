"""A chart drawn once in the terminal, by plotext."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Sequence

import numpy as np
import plotext
from rich.text import Text

from bncore.config.errors import escape_control
from bncore.figure import ChartData, Floats

HEIGHT = 16
PIPED_WIDTH = 100
FEWEST_TICKS, MOST_TICKS = 3, 7
"""Labels of an axis of logarithms."""
PLAIN_POWERS = 4
"""Powers of ten up to here are written out."""
SIDES = 12
"""Columns beside the plot, at most, over which no title goes."""
POINTS = 120
"""Most points a line is drawn from; of a longer one each is the mean of equally many neighbours."""
PLAIN_MARKERS = "ox+*#@%&"
"""What tells lines apart where there is no colour."""
COLORS = ("orange+", "blue+", "green+", "magenta+", "orange", "magenta", "gray+", "cyan+")
"""The terminal's own, as near to `bncore.figure.PALETTE` as they come."""


def draw(data: ChartData) -> str:
    """The lines of a chart, of bands both edges; empty where there are none. Context is left out."""
    lines = [
        (place, curve, x, y)
        for place, curve in enumerate(one for one in data.curves if not one.faint)
        for edge in ((curve.low,) if curve.is_line else (curve.high, curve.low))
        for x, y in (_points(curve.x, edge, log=data.log_y),)
        if len(x)
    ]
    if not lines:
        return ""
    on_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if on_terminal else PIPED_WIDTH
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.limit_size(False, False)  # which else takes 80 columns for the width of what is no terminal
    plotext.plotsize(width, HEIGHT)
    title = Text(escape_control(data.title))
    title.truncate(max(1, width - SIDES), overflow="ellipsis")  # a longer one is left out
    plotext.title(title.plain.strip())
    plotext.xlabel(data.x_name)
    if data.falling:
        places, labels = _log_ticks((-np.concatenate([x for *_, x, _ in lines])).tolist())
        plotext.xticks([-place for place in places], labels)
    if data.log_y:
        plotext.yticks(*_log_ticks(np.concatenate([y for *_, y in lines]).tolist()))
    labelled: set[int] = set()
    for place, curve, x, y in lines:
        plotext.plot(
            x.tolist(),
            y.tolist(),
            label=None if place in labelled else escape_control(curve.label),
            color=COLORS[curve.style % len(COLORS)],
            marker="braille" if on_terminal else PLAIN_MARKERS[place % len(PLAIN_MARKERS)],
        )
        labelled.add(place)
    picture = str(plotext.build())
    return picture if on_terminal else str(plotext.uncolorize(picture))


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


def _log_ticks(values: Sequence[float]) -> tuple[list[float], list[str]]:
    """Where to label an axis of logarithms, and with which values: powers of ten where they suffice, else 2 and 5
    times them, else round numbers in between."""
    low, high = min(values), max(values)
    first, last = math.floor(low), math.ceil(high)
    stride = -(-(last - first) // MOST_TICKS) or 1
    powers = [float(k) for k in range(first, last + 1) if k % stride == 0]
    for factors in ((1,), (1, 2, 5), tuple(range(1, 10)), tuple(x / 10 for x in range(10, 100))):
        ticks = [k + math.log10(f) for k in powers for f in factors]
        ticks = [tick for tick in ticks if low - 1e-9 <= tick <= high + 1e-9]
        if len(ticks) >= FEWEST_TICKS:
            ticks = ticks[:: -(-len(ticks) // MOST_TICKS)]
            return ticks, [_power(tick) for tick in ticks]
    ends = [low, high] if high > low else [low]
    return ends, [f"{10**tick:.5g}" for tick in ends]


def _power(exponent: float) -> str:
    """``0.1``, ``20``, ``10^7`` or ``2e7``: the value of a tick at that logarithm."""
    whole = round(exponent)
    if abs(exponent - whole) < 1e-9:
        return f"{10.0**whole:g}" if abs(whole) <= PLAIN_POWERS else f"10^{whole}"
    power = math.floor(exponent)
    digits = f"{10 ** (exponent - power):.2g}"
    return f"{float(digits) * 10.0**power:.6g}" if abs(power) <= PLAIN_POWERS else f"{digits}e{power}"
