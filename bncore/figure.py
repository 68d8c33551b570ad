"""What a figure shows, as plain frozen data: made from runs by the report and the explorer, drawn by matplotlib
(`bncore.report.drawing`), in braille (`bntui.chart`) and by plotext (`bntui.cli.terminal_chart`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
"""Colours of the styles on a light ground."""
DARK_PALETTE = (
    "#ff8a4c", "#6cb4f5", "#3fcf9e", "#e79bd3", "#e6b93c", "#b9a3f7", "#aab0b8",
    "#7fd3ee", "#ff8b98", "#a5d65f", "#d9a276", "#8fb0ff", "#e290ca", "#57cfcf", "#cfcf62", "#a9b8c9",
)  # fmt: skip
"""The same on a dark one."""
DASHES: tuple[tuple[int, ...], ...] = (
    (1,), (4, 2), (3, 2, 1, 2), (2, 2), (2, 4), (2, 2, 1, 2), (3, 1, 1, 1), (5, 1),
)  # fmt: skip
"""Dash patterns of the styles, the second cue: lengths drawn and left out in turn; the first is solid. Six units
tell them apart, since no more than that stands before a run's name in a list."""

VARIANT_STYLES: dict[str, int] = {
    "none": 0, "batch": 1, "batch + noise": 2, "none + noise": 3, "l1": 4, "l2": 5, "linf": 6,
}  # fmt: skip
"""Styles that mean the same variant in every figure; others take those that are free."""


_BY_DIRECTORY = {label.replace(" + ", "-"): style for label, style in VARIANT_STYLES.items()}
"""The same by the names of runs' directories."""


def styles_for(variants: Sequence[str], taken: Iterable[int] = ()) -> list[int]:
    """A style for each run: its own for the first of a known variant, the lowest that is free for others.

    Arguments:
        taken: of what is shown beside them.
    """
    return _styles([_BY_DIRECTORY.get(variant) for variant in variants], {*taken}, 0)


def variant_styles(variants: Sequence[str]) -> list[int]:
    """A style for each variant: its own of a known one, its colour with another dash pattern of one that is called
    after it (``none-lr0.1``, ``dln-none``), one that is free for others."""
    wanted: list[int | None] = [_BY_DIRECTORY.get(variant) for variant in variants]
    used = {style for style in wanted if style is not None}
    for place, variant in enumerate(variants):
        base = _named_after(variant)
        if base is not None and (wanted[place] is None or wanted[place] in wanted[:place]):
            alike = (base + again * len(PALETTE) for again in range(len(DASHES)))
            wanted[place] = next((style for style in alike if style not in used), None)
            used |= {wanted[place] or 0}
    return _styles(wanted, set(), len(VARIANT_STYLES))


def _styles(wanted: Sequence[int | None], used: set[int], free_from: int) -> list[int]:
    """What is wanted, where it is not used; else what is wanted by none."""
    given = dict[int, int]()
    for place, style in enumerate(wanted):
        if style is not None and style not in used:
            given[place] = style
            used.add(style)
    free = (style for style in count(free_from) if style not in used)
    return [given[place] if place in given else next(free) for place in range(len(wanted))]


def _named_after(variant: str) -> int | None:
    """The style of the known variant whose name is a part of this one between hyphens, of several the longest."""
    parts = [known for known in _BY_DIRECTORY if f"-{known}-" in f"-{variant}-"]
    return _BY_DIRECTORY[max(parts, key=len)] if parts else None


def values_at(x: Floats, known: Floats, y: Floats) -> Floats:
    """What a line (ascending places and its values there) has at each x; NaN where it has nothing."""
    if not len(known):
        return np.full(len(x), np.nan)
    at = np.searchsorted(known, x, side="right") - 1
    return np.where((at >= 0) & (known[at] == x), y[at], np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A line, or the band between `low` and `high`."""

    label: str
    style: int
    """Index of its colour and of its dash pattern."""
    x: Floats
    """(n,) ascending."""
    low: Floats
    """(n,) NaN is a gap; an infinity is marked at the edge."""
    high: Floats
    """(n,) `low` itself for a line."""
    floor: Floats | None = None
    """(n,) noise floor; what lies under it is drawn faintly."""
    diverged: bool = False
    """Whether it ends in a cross."""
    weight: Literal["main", "faint", "spread", "paper"] = "main"
    """The curve itself; context behind it: one of several seeds, a parent's curve before a fork; the range of all
    seeds; or the paper's own."""
    opacity: float = 1.0
    bold: bool = False
    """Whether it is of the pinned reference."""

    @property
    def is_line(self) -> bool:
        return self.low is self.high

    @property
    def faint(self) -> bool:
        """Whether it is context."""
        return self.weight != "main"


@dataclass(frozen=True, slots=True, eq=False)
class Ridge:
    """One distribution of several above each other."""

    label: str
    edges: Floats  # (b + 1,)
    density: Floats  # (b,)
    style: int


@dataclass(frozen=True, slots=True)
class HLine:
    """A line to read values against: 2/lr, 1/a_min."""

    y: float
    text: str


@dataclass(frozen=True, slots=True)
class VLine:
    """Something that happened at a step: a request that was applied."""

    x: float
    text: str
    style: int | None = None
    """Whose colour it takes; None: nobody's."""


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """What a colour and a dash pattern stand for."""

    label: str
    style: int


def dash_of(style: int, colors: int = len(PALETTE)) -> int:
    """Index of the style's dash pattern: where colours are used again, with another pattern.

    Arguments:
        colors: how many there are.
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
    """Shown where there is nothing to draw."""
    least: Span | None = None
    """Steps that are shown at the least, so that charts beside each other have the same axis."""
    y_name: str = ""
    ridges: tuple[Ridge, ...] = ()
    """Drawn instead of curves."""
    x_span: Span | None = None
    """The part of the axis that is shown; None: what there is."""
    y_span: Span | None = None
    starts_row: bool = False
    """Whether it is the first panel of its row, where there is room for rows."""
    falling: bool = False
    """Whether x is minus the decimal logarithm of something that falls, which is written at the axis."""
    better: Literal["", "lower", "higher"] = ""
    """Which way is better, where one is."""
    x_names: tuple[str, ...] = ()
    """Of places 1, 2, … of the axis, where they have names."""

    @property
    def empty(self) -> bool:
        """Whether nothing of the runs is in it."""
        return not self.ridges and not any(curve.weight != "paper" for curve in self.curves)

    def x_written(self, x: Floats) -> Floats:
        """What is written at places of the axis."""
        with np.errstate(over="ignore"):
            return np.asarray(10.0**-x) if self.falling else x


@dataclass(frozen=True, slots=True)
class Picture:
    """Panels, what their colours mean, and what to know before reading them."""

    name: str
    """``fig4``: names files and anchors."""
    title: str
    setting: str
    panels: tuple[ChartData, ...]
    legend: tuple[LegendEntry, ...]
    has_paper: bool = False
    notes: tuple[str, ...] = ()
    """Caveats, and what was left out."""
    columns: int = 3
    """Panels side by side, where there is room."""


@dataclass(frozen=True, slots=True, eq=False)
class HeatData:
    """A value for each of k rows (layers) over the steps."""

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
    """Values of the darkest and of the brightest colour, so that maps beside each other can be compared; None: the
    smallest and the largest there are."""


@dataclass(frozen=True, slots=True, eq=False)
class HistogramData:
    """A histogram for each of n steps."""

    title: str
    x: Floats
    """(n,) steps, ascending."""
    edges: Floats
    """(b + 1,) bounds of the bins, ascending."""
    density: Floats
    """(n, b)"""
    note: str = ""
    span: Span | None = None
    """Outputs that are shown, so that histograms beside each other can be compared; None: those of the bins."""
