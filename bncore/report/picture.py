"""What a picture shows, as frozen data: no drawing here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bncore.report.rank import PaperRank

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Style:
    """How everything of one variant looks, in every picture."""

    color: int | str
    """Index into the palette; or a colour of its own, ``#rrggbb``, in a file of its own."""
    dash: int = 0
    """Index into the dash patterns: the second cue."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A line, or the band between `low` and `high`."""

    label: str
    style: Style
    x: Floats  # (n,) ascending
    low: Floats  # (n,)
    high: Floats  # (n,), `low` itself for a line
    weight: Literal["main", "seed", "spread", "paper"] = "main"
    """A variant, one of its seeds behind it or the range of them all, or the paper's own."""
    opacity: float = 1.0
    diverged: bool = False
    """Ends in a cross."""
    floor: Floats | None = None
    """(n,) noise floor: what lies under it is drawn faintly."""

    @property
    def is_line(self) -> bool:
        """Whether both edges are one."""
        return self.high is self.low


@dataclass(frozen=True, slots=True)
class Ridge:
    """One distribution of several above each other."""

    name: str
    edges: Floats  # (b + 1,)
    density: Floats  # (b,)
    style: Style


@dataclass(frozen=True, slots=True)
class Rule:
    """A horizontal line to read values against."""

    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical line: something that happened at a step."""

    x: float
    text: str
    style: Style | None = None
    """Whose it is; None: nobody's."""


Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Plot:
    """One panel."""

    title: str
    x_name: str
    y_name: str
    curves: tuple[Curve, ...] = ()
    ridges: tuple[Ridge, ...] = ()
    rules: tuple[Rule, ...] = ()
    marks: tuple[Mark, ...] = ()
    log_x: bool = False
    log_y: bool = False
    starts_row: bool = False
    """Whether it is the first of its row, where there is room for rows."""
    x_span: Span | None = None
    """The part of the axis that is shown; None: what there is."""
    y_span: Span | None = None
    ranks: tuple[PaperRank, ...] = ()
    """Where the paper's curves lie among the seeds."""
    first_seed: bool = False
    """Whether its lines are of the first seed alone."""

    @property
    def empty(self) -> bool:
        """Whether nothing of the runs is in it."""
        return not self.ridges and not any(curve.weight != "paper" for curve in self.curves)


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """One entry of a legend."""

    label: str
    style: Style


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure: panels, what its colours mean, and what to know before reading it."""

    name: str
    """``fig4``: names files and anchors."""
    title: str
    setting: str
    plots: tuple[Plot, ...]
    keys: tuple[LegendEntry, ...]
    has_paper: bool
    notes: tuple[str, ...]
    """Caveats, and what was left out."""
    columns: int = 3
    """Panels side by side, where there is room."""

    @property
    def ranks(self) -> tuple[PaperRank, ...]:
        """Of all panels."""
        return tuple(rank for plot in self.plots for rank in plot.ranks)
