"""How a plot is to be drawn, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass

from bncore.figure import Curve
from bntui.chart.frame import PlotArea
from bntui.chart.grid import Grid
from bntui.chart.palette import DARK, Palette
from bntui.chart.scale import Scale


@dataclass(frozen=True, slots=True)
class ChartStyle:
    """How a plot is drawn."""

    palette: Palette = DARK
    smoothing: float = 0.0
    """From 0 to below 1; the raw curve is kept faintly behind the smoothed one."""
    crosshair: float | None = None
    """The step at which everything is read off in the bottom border."""
    focused: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class TerminalPicture:
    """A drawn plot, and where its field and its axes lie."""

    grid: Grid
    place: PlotArea
    x_scale: Scale | None
    """None where there is nothing to draw."""
    y_scale: Scale | None
    curves: tuple[Curve, ...] = ()
    """What the crosshair reads."""
    whole_x: bool = True
    """Whether what it is drawn over are whole numbers."""
    x_names: tuple[str, ...] = ()
    """As those of `bncore.figure.ChartData`."""
