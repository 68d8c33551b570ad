"""The data of a panel, as the page folds them below its figure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bncore.figure import ChartData, Floats

DATA_ROWS = 40
"""Most rows of a data table; of a longer one every so many are shown."""


@dataclass(frozen=True)
class PanelTable:
    """Rows of numbers."""

    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    every: int = 1
    """One row in so many is there."""


def panel_table(plot: ChartData) -> PanelTable:
    """The curves of a panel at the steps of ours, or its ridges."""
    if plot.ridges:
        ridges = [
            (
                ridge.label,
                *(
                    f"{value:.4g}"
                    for value in (ridge.edges[0], ridge.edges[-1], _center(ridge.edges, ridge.density))
                ),
            )
            for ridge in plot.ridges
        ]
        return PanelTable(("step", "from", "to", "mean"), ridges)
    curves = [curve for curve in plot.curves if curve.weight in ("main", "paper")]
    x = np.unique(np.concatenate([curve.x for curve in curves if curve.weight == "main"]))
    every = max(1, -(-len(x) // DATA_ROWS))
    kept = x[::every]
    names = [name for curve in curves for name in _names(curve.label, curve.is_line)]
    columns = [
        _paper_at(kept, curve.x, edge, plot) if curve.weight == "paper" else _at(kept, curve.x, edge)
        for curve in curves
        for edge in ((curve.low,) if curve.is_line else (curve.low, curve.high))
    ]
    rows = [
        (f"{value:.6g}", *("-" if np.isnan(one) else f"{one:.4g}" for one in values))
        for value, *values in zip(kept, *columns, strict=True)
    ]
    return PanelTable((plot.x_name, *names), rows, every)


def _at(x: Floats, known: Floats, y: Floats) -> Floats:
    """The values at x; NaN where a curve has none."""
    found = dict(zip(known.tolist(), y.tolist(), strict=True))
    return np.array([found.get(value, np.nan) for value in x.tolist()])


def _paper_at(x: Floats, known: Floats, y: Floats, plot: ChartData) -> Floats:
    """The paper's curve at x: between its points linearly on the axes as they are plotted."""
    with np.errstate(all="ignore"):
        x, known = (np.log(x), np.log(known)) if plot.log_x else (x, known)
        between = np.interp(x, known, np.log(y) if plot.log_y else y, left=np.nan, right=np.nan)
        return np.exp(between) if plot.log_y else between


def _names(label: str, is_line: bool) -> tuple[str, ...]:
    return (label,) if is_line else (f"{label}, lower", f"{label}, upper")


def _center(
    edges: np.ndarray[tuple[int], np.dtype[np.float64]], density: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> float:
    return float(np.average((edges[1:] + edges[:-1]) / 2, weights=density))
