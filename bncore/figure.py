"""Contents of figures as plain frozen data: built from runs by the report and the explorer, and drawn with
matplotlib (`bncore.report.render`), in braille (`bntui.chart`) and with plotext (`bntui.cli.terminal_chart`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Span = tuple[float, float]

PALETTE = (
    "#c4480a", "#1f6fb2", "#12845f", "#b24e8f", "#a17400", "#7a5cc0", "#6b6f76",
    "#2b8fb3", "#c23b4e", "#4f8a10", "#9a5b2f", "#3d6fd6", "#a8488f", "#0f8a8a", "#7d7d1e", "#5e6b7a",
)  # fmt: skip
"""Colors of the styles on a light background."""
DARK_PALETTE = (
    "#ff8a4c", "#6cb4f5", "#3fcf9e", "#e79bd3", "#e6b93c", "#b9a3f7", "#aab0b8",
    "#7fd3ee", "#ff8b98", "#a5d65f", "#d9a276", "#8fb0ff", "#e290ca", "#57cfcf", "#cfcf62", "#a9b8c9",
)  # fmt: skip
"""Colors of the styles on a dark background."""
DASHES: tuple[tuple[int, ...], ...] = (
    (1,), (4, 2), (3, 2, 1, 2), (2, 2), (2, 4), (2, 2, 1, 2), (3, 1, 1, 1), (5, 1),
)  # fmt: skip
"""Dash patterns of the styles, the second cue: alternating lengths of dashes and gaps; the first is solid. They
can be told apart within six units, the length shown before a run's name in a list."""

VARIANT_STYLES: dict[str, int] = {
    "none": 0, "batch": 1, "batch + noise": 2, "none + noise": 3, "l1": 4, "l2": 5, "linf": 6,
}  # fmt: skip
"""Styles that mean the same variant in every figure; other variants take free styles."""


_BY_DIRECTORY = {label.replace(" + ", "-"): style for label, style in VARIANT_STYLES.items()}
"""The same styles by the names of run directories."""


def styles_for(variants: Sequence[str], taken: Iterable[int] = ()) -> list[int]:
    """A style for each run: the first run of a known variant gets its own, others the lowest free one.

    Arguments:
        taken: styles used by other runs shown.
    """
    return _styles([_BY_DIRECTORY.get(variant) for variant in variants], {*taken}, 0)


def variant_styles(variants: Sequence[str]) -> list[int]:
    """A style for each variant: its own for a known variant; the same color with another dash pattern for a
    variant named after a known one (``none-lr0.1``, ``dln-none``); a free style for others."""
    wanted: list[int | None] = [_BY_DIRECTORY.get(variant) for variant in variants]
    used = {style for style in wanted if style is not None}
    for index, variant in enumerate(variants):
        base = _named_after(variant)
        if base is not None and (wanted[index] is None or wanted[index] in wanted[:index]):
            alike = (base + again * len(PALETTE) for again in range(len(DASHES)))
            wanted[index] = next((style for style in alike if style not in used), None)
            used |= {wanted[index] or 0}
    return _styles(wanted, set(), len(VARIANT_STYLES))


def _styles(wanted: Sequence[int | None], used: set[int], free_from: int) -> list[int]:
    """The wanted styles where they are unused, otherwise free ones."""
    given = dict[int, int]()
    for index, style in enumerate(wanted):
        if style is not None and style not in used:
            given[index] = style
            used.add(style)
    free = (style for style in count(free_from) if style not in used)
    return [given[index] if index in given else next(free) for index in range(len(wanted))]


def _named_after(variant: str) -> int | None:
    """The style of the known variant whose name is a hyphen-delimited part of this one; if several, the
    longest."""
    parts = [name for name in _BY_DIRECTORY if f"-{name}-" in f"-{variant}-"]
    return _BY_DIRECTORY[max(parts, key=len)] if parts else None


def drawable(values: Floats, *, log: bool) -> Floats:
    """The values that can be plotted on a linear or logarithmic axis; NaN (a gap) for the others."""
    return np.where(np.isfinite(values) & ((values > 0) | (not log)), values, np.nan)


def values_at(x: Floats, points: Floats, y: Floats) -> Floats:
    """Values at each x of a line with ascending positions `points` and values `y`; NaN where x is not in
    `points`."""
    if not len(points):
        return np.full(len(x), np.nan)
    at = np.searchsorted(points, x, side="right") - 1
    return np.where((at >= 0) & (points[at] == x), y[at], np.nan)


Weight = Literal["main", "faint", "spread", "paper"]


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A line, or the band between `low` and `high`."""

    label: str
    style: int
    """Index of its color and dash pattern."""
    x: Floats
    """(n,) ascending."""
    low: Floats
    """(n,) NaN is a gap; an infinite value is marked at the edge of the chart."""
    high: Floats
    """(n,) `low` itself (the same object) for a line."""
    floor: Floats | None = None
    """(n,) noise floor; values below it are drawn faint."""
    diverged: bool = False
    """Whether the run diverged; the curve then ends in a cross."""
    weight: Weight = "main"
    """``main``: the curve itself. ``faint``: context behind it, such as one of several seeds or a parent's curve
    before a fork. ``spread``: the band of several runs. ``paper``: the paper's own curve."""
    opacity: float = 1.0
    bold: bool = False
    """Whether it belongs to the pinned reference."""

    @property
    def is_line(self) -> bool:
        return self.low is self.high

    @property
    def edges(self) -> tuple[Floats, ...]:
        """The values of a line; the lower and the upper ones of a band."""
        return (self.low,) if self.is_line else (self.low, self.high)

    def part(self, index: slice | NDArray[np.intp]) -> Curve:
        """The curve at some of its points."""
        low = self.low[index]
        high = low if self.is_line else self.high[index]
        floor = None if self.floor is None else self.floor[index]
        return replace(self, x=self.x[index], low=low, high=high, floor=floor)

    @property
    def faint(self) -> bool:
        """Whether it is context rather than the curve itself."""
        return self.weight != "main"


@dataclass(frozen=True, slots=True, eq=False)
class Ridge:
    """One of several distributions stacked in a ridgeline plot."""

    label: str
    edges: Floats  # (b + 1,)
    density: Floats  # (b,)
    style: int


@dataclass(frozen=True, slots=True)
class HLine:
    """A horizontal reference line, such as 2/lr or 1/a_min."""

    y: float
    text: str


@dataclass(frozen=True, slots=True)
class VLine:
    """A vertical line that marks an event at a step, such as an applied request."""

    x: float
    text: str
    style: int | None = None
    """Style whose color the line takes; None: neutral."""


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """Meaning of a color and dash pattern."""

    label: str
    style: int


def dash_of(style: int, colors: int = len(PALETTE)) -> int:
    """Index of the style's dash pattern; a reused color gets another pattern.

    Arguments:
        colors: number of colors.
    """
    return (style + style // colors) % len(DASHES)


@dataclass(frozen=True, slots=True)
class ChartData:
    """One chart, or one panel of a picture. Later curves are drawn over earlier ones."""

    title: str
    curves: tuple[Curve, ...] = ()
    vlines: tuple[VLine, ...] = ()
    hlines: tuple[HLine, ...] = ()
    log_y: bool = False
    log_x: bool = False
    x_name: str = "step"
    note: str = ""
    """Text shown if there is nothing to draw."""
    least: Span | None = None
    """Range of steps that is always included, so that charts side by side have the same axis."""
    y_name: str = ""
    ridges: tuple[Ridge, ...] = ()
    """Distributions to draw instead of curves."""
    x_span: Span | None = None
    """Visible part of the x axis; None: all data."""
    y_span: Span | None = None
    starts_row: bool = False
    """Whether it is the first panel of its row, if there is room for rows."""
    falling: bool = False
    """Whether x is the negative log10 of a falling quantity, with whose values the axis is labeled."""
    better: Literal["", "lower", "higher"] = ""
    """Which direction is better; empty: neither."""
    x_names: tuple[str, ...] = ()
    """Names of positions 1, 2, … of the x axis, if they have names."""

    @property
    def empty(self) -> bool:
        """Whether the chart shows nothing from the runs."""
        return not self.ridges and not any(curve.weight != "paper" for curve in self.curves)

    def x_written(self, x: Floats) -> Floats:
        """Values with which the axis labels positions x."""
        with np.errstate(over="ignore"):
            return np.asarray(10.0**-x) if self.falling else x


@dataclass(frozen=True, slots=True)
class Picture:
    """Panels with their legend and the caveats to know before reading them."""

    name: str
    """Name used for files and anchors, such as ``fig4``."""
    title: str
    setting: str
    panels: tuple[ChartData, ...]
    legend: tuple[LegendEntry, ...]
    has_paper: bool = False
    notes: tuple[str, ...] = ()
    """Caveats and omissions."""
    columns: int = 3
    """Most panels side by side."""


@dataclass(frozen=True, slots=True, eq=False)
class HeatData:
    """Heat map: one value per step for each of k rows (layers)."""

    title: str
    x: Floats
    """(n,) steps, ascending."""
    rows: tuple[str, ...]
    """Names of the k rows, the first at the bottom."""
    values: Floats
    """(n, k)"""
    log: bool = False
    note: str = ""
    span: Span | None = None
    """Values of the darkest and the brightest color, so that maps side by side can be compared; None: the smallest
    and the largest value."""


@dataclass(frozen=True, slots=True, eq=False)
class HistogramData:
    """One histogram for each of n steps."""

    title: str
    x: Floats
    """(n,) steps, ascending."""
    edges: Floats
    """(b + 1,) bounds of the bins, ascending."""
    density: Floats
    """(n, b)"""
    note: str = ""
    span: Span | None = None
    """Range of outputs shown, so that histograms side by side can be compared; None: the range of the bins."""
