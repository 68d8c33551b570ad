"""The figures of a page, each with the data of its panels folded below."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bncore.report.drawing import PALETTE, PANEL_INCHES, SMALL_INCHES, panel_svg
from bncore.report.page.markup import folded, listing, number, table, tag, text
from bncore.report.picture import Picture, Plot

DATA_ROWS = 40
"""Most rows of a data table; of a longer one every so many are shown."""


def figures(pictures: Sequence[Picture]) -> str:
    if not pictures:
        return tag("section", tag("h2", "Figures") + tag("p", "Nothing was measured yet."), id="figures")
    return tag("section", tag("h2", "Figures") + "".join(map(_figure, pictures)), id="figures")


def _figure(picture: Picture) -> str:
    inches = PANEL_INCHES if picture.columns <= 3 else SMALL_INCHES
    panels = "".join(
        tag(
            "div",
            panel_svg(plot, f"{picture.name}-{place}", inches),
            class_="panel first" if plot.starts_row else "panel",
            role="img",
            aria_label=plot.title,
        )
        for place, plot in enumerate(picture.plots, start=1)
    ).replace("aria_label=", "aria-label=")
    data = "".join(_data(plot) for plot in picture.plots)
    return tag(
        "figure",
        tag("h3", text(picture.title))
        + tag("p", text(picture.setting), class_="fine")
        + _legend(picture)
        + tag("div", panels, class_="panels", style=f"--n:{picture.columns}")
        + tag("figcaption", listing(picture.notes))
        + folded("Data of these panels", data),
        id=picture.name,
    )


def _legend(picture: Picture) -> str:
    dashes = ("none", "6 3", "4 2 1 2", "1.5 2")
    entries = [
        _swatch(f"var(--c{key.style.colour % len(PALETTE)})", dashes[key.style.dash % len(dashes)])
        + text(key.label)
        for key in picture.keys
    ]
    if picture.has_paper:
        entries.append(_swatch("currentColor", "1.5 2.5") + text("dotted: the paper's own"))
    return tag("ul", "".join(tag("li", entry) for entry in entries), class_="legend")


def _swatch(colour: str, dash: str) -> str:
    line = f'<path d="M0 5H26" stroke="{colour}" stroke-width="2.5" stroke-dasharray="{dash}" fill="none"/>'
    return f'<svg class="swatch" width="26" height="10" viewBox="0 0 26 10" aria-hidden="true">{line}</svg> '


def _data(plot: Plot) -> str:
    if plot.ridges:
        rows: list[tuple[str, ...]] = [
            (
                text(ridge.name),
                f"{ridge.edges[0]:.4g}",
                f"{ridge.edges[-1]:.4g}",
                f"{_centre(ridge.edges, ridge.density):.4g}",
            )
            for ridge in plot.ridges
        ]
        return tag("h4", text(plot.title)) + table(("step", "from", "to", "mean"), rows, numbers=range(4))
    curves = [curve for curve in plot.curves if curve.weight != "seed"]
    x = np.unique(np.concatenate([curve.x for curve in curves]))
    kept = x[:: max(1, -(-len(x) // DATA_ROWS))]
    names = [name for curve in curves for name in _names(curve.label, curve.is_line)]
    columns = [
        dict(zip(curve.x.tolist(), edge.tolist(), strict=True))
        for curve in curves
        for edge in ((curve.low,) if curve.is_line else (curve.low, curve.high))
    ]
    rows = [(f"{value:.6g}", *(number(column.get(value)) for column in columns)) for value in kept.tolist()]
    note = "" if len(kept) == len(x) else tag("p", f"Every {-(-len(x) // DATA_ROWS)}th row.", class_="fine")
    body = table((plot.x_name, *names), rows, numbers=range(len(names) + 1))
    return tag("h4", text(plot.title)) + note + body


def _names(label: str, is_line: bool) -> tuple[str, ...]:
    return (label,) if is_line else (f"{label}, lower", f"{label}, upper")


def _centre(
    edges: np.ndarray[tuple[int], np.dtype[np.float64]], density: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> float:
    return float(np.average((edges[1:] + edges[:-1]) / 2, weights=density))
