"""What a chart shows, as plain frozen data: the one thing that its makers and its drawing share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A line (`low is high`) or a band of one run."""

    name: str
    """As shown, already harmless to a terminal."""
    style: int
    """Index of its colour and of its second cue, the same for a run in every chart."""
    x: Floats
    """(n,) steps, ascending."""
    low: Floats
    """(n,) NaN is a gap; an infinity is clipped to the edge and marked."""
    high: Floats
    """(n,) `low` itself for a line."""
    floor: Floats | None = None
    """(n,) noise floor; what lies under it is drawn faintly."""
    diverged: bool = False
    """Whether it ends in a cross."""
    faint: bool = False
    """Whether it is context: a parent's curve before a fork, the paper's own curve."""

    @property
    def is_line(self) -> bool:
        return self.low is self.high


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical line: a request and the step it was applied at."""

    x: float
    text: str
    style: int | None = None
    """Whose colour it takes; None: nobody's."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A horizontal line of reference: 2/lr, 1/a_min."""

    y: float
    text: str


@dataclass(frozen=True, slots=True)
class ChartData:
    """One chart. Later curves are drawn over earlier ones."""

    title: str
    curves: tuple[Curve, ...] = ()
    marks: tuple[Mark, ...] = ()
    rules: tuple[Rule, ...] = ()
    log_y: bool = False
    log_x: bool = False
    x_name: str = "step"
    note: str = ""
    """Shown where there is nothing to draw."""
    least: tuple[float, float] | None = None
    """Steps that are shown at the least, so that charts beside each other have the same axis."""


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
    span: tuple[float, float] | None = None
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
