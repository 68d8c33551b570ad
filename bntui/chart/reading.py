"""Readings: the value of each curve at one step."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bncore.figure import Curve, Span
from bntui.chart.grid import cells, fitted
from bntui.chart.ticks import exact


@dataclass(frozen=True, slots=True)
class Reading:
    name: str
    style: int
    x: float
    """Step of the point that was read, the nearest one; NaN without a value."""
    low: float
    high: float
    floor: float | None
    band: Span | None = None
    """Ends of the range around a mean."""
    best: tuple[float, float] | None = None
    """Step at which the curve is best, and its value there."""
    reached: tuple[float, float] | None = None
    """First step at which the curve is as good as the selected one is at the crosshair (NaN: never), and that
    value."""
    end: float | None = None
    """Last step of a curve that ends before the crosshair and so has no value there."""

    @property
    def is_line(self) -> bool:
        """Whether the reading is a single value."""
        return self.low == self.high or np.isnan(self.low)

    @property
    def value(self) -> str:
        """The value, or the ends of the band."""
        return exact(self.low) if self.is_line else f"{exact(self.low)}…{exact(self.high)}"

    @property
    def text(self) -> str:
        """The value, with its noise floor or range if it has one."""
        value = self.value
        if self.band is not None and self.band[0] < self.band[1]:
            value = f"{value} [{exact(self.band[0])}, {exact(self.band[1])}]"
        return value if self.floor is None or np.isnan(self.floor) else f"{value} ± {exact(self.floor)}"


def readings(curves: Sequence[Curve], x: float, *, falling: bool = False) -> list[Reading]:
    """Read the point nearest to `x` of each curve that reaches it; then list the ends of main curves that do not.

    A faint context curve is skipped if the main curve of its style reaches `x`.

    Arguments:
        falling: whether the axis is one of progress (`ChartData.falling`). Then the first point at or beyond `x`
            is read, so that no curve is read before it has come that far.
    """
    if not np.isfinite(x):
        return []
    points = [(curve, i) for curve in curves if (i := _reached(curve, x, falling)) is not None]
    read = {curve.style for curve, _ in points if curve.weight == "main"}
    ranges = {
        curve.style: (float(curve.low[i]), float(curve.high[i]))
        for curve, i in points
        if curve.weight == "spread"
    }
    reached = [
        Reading(
            curve.label,
            curve.style,
            float(curve.x[i]),
            float(curve.low[i]),
            float(curve.high[i]),
            None if curve.floor is None else float(curve.floor[i]),
            ranges.get(curve.style) if curve.weight != "paper" else None,
        )
        for curve, i in points
        if curve.weight != "spread" and not (curve.weight == "faint" and curve.style in read)
    ]
    drawn = {reading.style for reading in reached}
    return reached + [
        Reading(curve.label, curve.style, np.nan, np.nan, np.nan, None, end=float(curve.x[-1]))
        for curve in curves
        if curve.weight == "main" and curve.style not in drawn and curve.x.size and curve.x[-1] < x
    ]


def with_best(here: list[Reading], curves: Iterable[Curve], better: str) -> list[Reading]:
    """Readings with the first step at which each curve is best, and a reading without a value for each curve that
    has none at `x`. Bands have no best."""
    best = {}
    for curve in curves:
        finite = np.flatnonzero(np.isfinite(curve.low))
        if better and curve.is_line and curve.weight == "main" and finite.size:
            values = curve.low[finite]
            i = finite[values.argmin() if better == "lower" else values.argmax()]
            best[curve.style] = (curve.label, (float(curve.x[i]), float(curve.low[i])))
    read = {reading.style for reading in here}
    not_started = [
        Reading(name, style, np.nan, np.nan, np.nan, None, best=at)
        for style, (name, at) in best.items()
        if style not in read
    ]
    return [replace(one, best=best[one.style][1]) if one.style in best else one for one in here] + not_started


def with_reached(
    readings: list[Reading], curves: Iterable[Curve], better: str, selected: int | None
) -> list[Reading]:
    """Readings with the first step at which each curve reaches the value read for the style `selected`: at which
    it is at or below that value, or if higher is better, at or above. Bands reach none."""
    levels = (one.low for one in readings if one.style == selected and one.is_line and np.isfinite(one.low))
    level = next(levels, None)
    if not better or level is None:
        return readings
    reached = {}
    for curve in curves:
        if curve.is_line and curve.weight == "main":
            there = curve.low <= level if better == "lower" else curve.low >= level
            reached[curve.style] = (float(curve.x[there.argmax()]) if there.any() else np.nan, level)
    return [replace(one, reached=reached.get(one.style)) for one in readings]


def _reached(curve: Curve, x: float, falling: bool) -> int | None:
    """Index of the point to read at `x`; None if the curve does not reach there."""
    if not curve.x.size:
        return None
    first, last = float(curve.x[0]), float(curve.x[-1])
    if falling:
        return int(np.searchsorted(curve.x, x - 1e-9)) if x <= last + 1e-9 else None
    i = nearest(curve.x, x)
    half_step = 0.5 if first.is_integer() and last.is_integer() else 0.0  # only on an axis of whole steps
    spacing = (last - first) / max(1, curve.x.size - 1)
    return None if abs(curve.x[i] - x) > max(spacing, half_step) + 1e-9 else i


def nearest(x: np.ndarray, value: float) -> int:
    """Index of the step nearest to a value."""
    i = int(np.searchsorted(x, value))
    if i == 0:
        return 0
    if i == x.size:
        return i - 1
    return i - 1 if value - x[i - 1] <= x[i] - value else i


def position_text(x: float) -> str:
    """A position on the x axis as text; from 10 up, rounded to a whole step."""
    return exact(float(round(x))) if 10 <= abs(x) < np.inf else exact(x)


def sentence(
    here: list[Reading], x: float, width: int, x_names: Sequence[str] = ()
) -> list[tuple[str, int | None]]:
    """ "at 4,800: none 12.1  batch 3.4 ± 0.02" in pieces, each with its style. The step is the one at which all
    were measured; a value measured elsewhere is followed by its own step. To make the sentence fit, ranges and
    noise floors are dropped first, then names are shortened as long as they stay distinct, and finally curves are
    dropped.

    Arguments:
        x_names: names of positions 1, 2, …, if they have any.
    """
    at = common_position(here, x)
    elsewhere = ["" if position_text(r.x) == at else f"@{position_text(r.x)} " for r in here]
    named = "".join(f" {name}" for name in x_names[max(0, round(x) - 1) :][:1])
    head = f"at {at}{named}:"
    names = [r.name for r in here]
    longest = max((len(cells(name)) for name in names), default=0)
    pieces: list[tuple[str, int | None]] = [(head, None)]
    for most in (None, longest, *(most for most in (12, 8, 5) if most < longest)):
        cut = names if most in (None, longest) else shortened(names, most or longest)
        if len({*cut}) < len({*names}):
            break
        pieces = [(head, None)]
        for name, r, where in zip(cut, here, elsewhere, strict=True):
            pieces.append((f" {name} {r.text if most is None else r.value} {where}", r.style))
        if _length(pieces) <= width:
            return pieces
    return whole(pieces, width)


def whole(pieces: Sequence[tuple[str, int | None]], width: int) -> list[tuple[str, int | None]]:
    """Pieces of a sentence that fit whole, at least the first two, and the number of those that do not: a value
    that is cut would be a different value."""
    fitting, more = [*pieces], 0
    while _length(fitting) + (len(f" +{more}") if more else 0) > width and len(fitting) > 2:
        fitting.pop()
        more += 1
    return [*fitting, (f" +{more}", None)] if more else fitting


def _length(pieces: Sequence[tuple[str, int | None]]) -> int:
    return sum(len(cells(text)) for text, _ in pieces)


def common_position(here: Sequence[Reading], x: float) -> str:
    """The position at which all values were measured, else the position read."""
    positions = {position_text(r.x) for r in here}
    return positions.pop() if len(positions) == 1 else position_text(x)


def shortened(names: Sequence[str], most: int) -> list[str]:
    """Names in at most `most` cells: without a shared last word, and cut at the end, or in the middle if cutting
    the end would make names equal."""
    endings = {"".join(re.findall(r"[ -][^ -]+$", name)) for name in names}
    if len(names) > 1 and len(endings) == 1:
        names = [name.removesuffix(*endings) or name for name in names]
    at_end = [fitted(name, most) for name in names]
    if len({*at_end}) == len({*names}):
        return at_end
    tail = (most - 1) // 2
    return [
        name if len(cells(name)) <= most else fitted(fitted(name, most - tail) + name[-tail:], most)
        for name in names
    ]
