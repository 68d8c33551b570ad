"""The figures of a page, each with the data of its panels folded below."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bncore.figure import PALETTE, ChartData, Floats, dash_of
from bncore.report.drawing import PANEL_INCHES, SMALL_INCHES, panel_svg
from bncore.report.page.markup import details, number, table, tag, text, unordered_list
from bncore.report.page.ranks import ranks
from bncore.report.picture import ReportPicture

DATA_ROWS = 40
"""Most rows of a data table; of a longer one every so many are shown."""


def figures(pictures: Sequence[ReportPicture]) -> str:
    """The section of the paper's figures and of what the runs measured beside them."""
    if not pictures:
        return tag("section", tag("h2", "Figures") + tag("p", "Nothing was measured yet."), id="figures")
    return tag("section", tag("h2", "Figures") + "".join(map(_figure, pictures)), id="figures")


def _figure(picture: ReportPicture) -> str:
    inches = PANEL_INCHES if picture.columns <= 3 else SMALL_INCHES
    panels = "".join(
        tag(
            "div",
            panel_svg(plot, f"{picture.name}-{place}", inches),
            class_="panel first" if plot.starts_row else "panel",
            role="img",
            aria_label=plot.title,
        )
        for place, plot in enumerate(picture.panels, start=1)
    )
    data = "".join(_data(plot) for plot in picture.panels)
    return tag(
        "figure",
        tag("h3", text(picture.title))
        + tag("p", text(picture.setting), class_="fine")
        + _legend(picture)
        + tag("div", panels, class_="panels", style=f"--n:{picture.columns}")
        + tag("figcaption", unordered_list(picture.notes))
        + ranks(picture)
        + details("Data of these panels", data),
        id=picture.name,
    )


def _legend(picture: ReportPicture) -> str:
    dashes = ("none", "6 3", "4 2 1 2", "1.5 2")
    entries = [
        _swatch(f"var(--c{entry.style % len(PALETTE)})", dashes[dash_of(entry) % len(dashes)])
        + text(entry.label)
        for entry in picture.legend
    ]
    if picture.has_paper:
        entries.append(_swatch("currentColor", "1.5 2.5") + text("dotted: the paper's own"))
    return tag("ul", "".join(tag("li", entry) for entry in entries), class_="legend")


def _swatch(color: str, dash: str) -> str:
    line = f'<path d="M0 5H26" stroke="{color}" stroke-width="2.5" stroke-dasharray="{dash}" fill="none"/>'
    return f'<svg class="swatch" width="26" height="10" viewBox="0 0 26 10" aria-hidden="true">{line}</svg> '


def _data(plot: ChartData) -> str:
    if plot.ridges:
        rows: list[tuple[str, ...]] = [
            (
                text(ridge.label),
                f"{ridge.edges[0]:.4g}",
                f"{ridge.edges[-1]:.4g}",
                f"{_center(ridge.edges, ridge.density):.4g}",
            )
            for ridge in plot.ridges
        ]
        return tag("h4", text(plot.title)) + table(("step", "from", "to", "mean"), rows, numbers=range(4))
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
        (f"{value:.6g}", *(number(None if np.isnan(one) else float(one)) for one in values))
        for value, *values in zip(kept.tolist(), *columns, strict=True)
    ]
    note = tag("p", f"One row in {every}.", class_="fine") if every > 1 else ""
    body = table((plot.x_name, *names), rows, numbers=range(len(names) + 1))
    return tag("h4", text(plot.title)) + note + body


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
