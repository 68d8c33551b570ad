"""SVG and PNG output with matplotlib; the only such module, imported only when a picture is drawn.

Text stays text and nothing depends on the clock, so equal pictures give equal files. In a page, colors are CSS
variables, readable on light and dark backgrounds; in a standalone file they are fixed, on white.
"""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, Locator, LogLocator, MaxNLocator, NullLocator

from bncore.figure import (
    DASHES,
    PALETTE,
    ChartData,
    Curve,
    Floats,
    HLine,
    LegendEntry,
    Picture,
    Ridge,
    VLine,
    dash_of,
    drawable,
)
from bncore.store.errors import StoreError
from bncore.store.files import write_out

Dash = Literal["solid"] | tuple[float, Sequence[float]]

PAPER_DASH: Dash = (0, (1, 1.6))

STYLE, SOFT, GROUND = "#1b1d21", "#c9ccd2", "#ffffff"
PANEL_INCHES = (4.0, 2.75)
LETTERS_PER_INCH = 12
"""Characters per inch at which a title is wrapped."""
SMALL_INCHES = (3.2, 2.4)
"""Size of a panel in a row of four."""
DENSE = 500
"""Number of points above which a line is drawn thin, so that its noise does not hide the other lines."""
_STROKES = {"main": (1.6, 1.0), "faint": (0.7, 0.35), "spread": (0.0, 0.0), "paper": (1.2, 0.75)}
"""Line width and opacity by curve weight."""
_SETTINGS: dict[Any, Any] = {  # matplotlib types the keys as one long Literal
    "svg.fonttype": "none",
    "svg.hashsalt": "bnrun",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 8.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "text.color": STYLE,
    "axes.labelcolor": STYLE,
    "axes.edgecolor": STYLE,
    "xtick.color": STYLE,
    "ytick.color": STYLE,
    "grid.color": SOFT,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "text.parse_math": False,
    "axes.formatter.useoffset": False,
    "path.simplify_threshold": 0.3,
}


def panel_svg(plot: ChartData, prefix: str, inches: tuple[float, float] = PANEL_INCHES) -> str:
    """One panel for a page: an ``<svg>`` element that takes its colors from the page.

    Arguments:
        prefix: prefix of every id in the element, so that one page can hold several panels.
        inches: size of the panel; at a fixed display width, a smaller size gives larger text.
    """
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=inches, layout="constrained")
        _fill(figure.subplots(), plot)
        text = _svg(figure)
    return _themed(_with_prefix(text, prefix))


class SelfShowing(Figure):
    """A figure that a notebook displays without pyplot."""

    def _repr_svg_(self) -> str:
        with mpl.rc_context(_SETTINGS | {"savefig.facecolor": GROUND}):
            return _svg(self)


def figure_of(picture: Picture) -> Figure:
    """The complete figure, for a notebook."""
    with mpl.rc_context(_SETTINGS):
        return _whole(picture)


def picture_svg(picture: Picture) -> str:
    """The complete figure as a standalone SVG file, on white."""
    with mpl.rc_context(_SETTINGS | {"savefig.facecolor": GROUND}):
        text = _svg(_whole(picture))
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def _whole(picture: Picture) -> Figure:
    """All panels in rows, above the legend and the notes."""
    cells = _cells(picture)
    columns, lines = picture.columns, max(line for line, _ in cells) + 1
    notes = "\n".join(picture.notes)
    width, height = PANEL_INCHES
    size = (width * max(columns, 2), height * lines + 1.2 + 0.16 * len(picture.notes))
    figure = SelfShowing(figsize=size, layout="constrained")
    grid = figure.add_gridspec(lines, columns)
    for (line, column), plot in zip(cells, picture.panels, strict=True):
        _fill(figure.add_subplot(grid[line, column]), plot)
    setting = textwrap.fill(picture.setting, int(LETTERS_PER_INCH * size[0]))
    figure.suptitle("\n".join(filter(None, (picture.title, setting))), fontsize=11)
    handles = _handles(picture.legend, paper=picture.has_paper)
    figure.legend(
        handles=handles, loc="outside lower center", ncols=4 if len(handles) == 4 else 3,
        frameon=False, fontsize=8, title=notes or None, title_fontsize=7,
    )  # fmt: skip
    return figure


def _cells(picture: Picture) -> list[tuple[int, int]]:
    """Grid row and column of each panel."""
    cells: list[tuple[int, int]] = []
    line, column = 0, 0
    for plot in picture.panels:
        if cells and (plot.starts_row or column == picture.columns):
            line, column = line + 1, 0
        cells.append((line, column))
        column += 1
    return cells


def _handles(legend: Sequence[LegendEntry], *, paper: bool) -> list[Line2D]:
    handles = [
        Line2D([], [], color=_color(entry.style), linestyle=_dash(entry.style), label=entry.label)
        for entry in legend
    ]
    if paper:
        handles.append(Line2D([], [], color=STYLE, linestyle=PAPER_DASH, label="the paper's own"))
    return handles


def _fill(ax: Axes, plot: ChartData) -> None:
    ax.set_title(plot.title, loc="left")
    ax.set_xlabel(plot.x_name)
    ax.set_ylabel(plot.y_name)
    ax.grid(visible=True, linewidth=0.5)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    if plot.ridges:
        _ridges(ax, plot.ridges)
        return
    for curve in plot.curves:
        _curve(ax, curve, plot)
    if plot.log_x:
        ax.set_xscale("log")
        _log_ticks(ax.xaxis, *ax.get_xlim())
    if plot.log_y and any((curve.high[np.isfinite(curve.high)] > 0).any() for curve in plot.curves):
        ax.set_yscale("log")
        _log_ticks(ax.yaxis, *ax.get_ylim())
    if plot.falling:
        _falling_ticks(ax)
    if plot.x_span is not None:
        ax.set_xlim(*plot.x_span)
    if plot.y_span is not None:
        ax.set_ylim(*plot.y_span)
    _hlines(ax, plot.hlines)
    _vlines(ax, plot.vlines)
    if plot.x_name == "step":
        ax.xaxis.set_major_locator(MaxNLocator(7, integer=True, min_n_ticks=1))
        ax.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")


def _hlines(ax: Axes, hlines: Sequence[HLine]) -> None:
    for line in hlines:
        ax.axhline(line.y, color=STYLE, linewidth=0.8, linestyle=(0, (6, 3)), zorder=1.5)
        ax.annotate(
            line.text, (1, line.y), xycoords=("axes fraction", "data"), xytext=(0, 1.5),
            textcoords="offset points", ha="right", va="bottom", fontsize=7.5,
        )  # fmt: skip


def _vlines(ax: Axes, vlines: Sequence[VLine]) -> None:
    """Draw vertical lines, each label one text line below the previous one, so that neighbors stay readable."""
    for index, line in enumerate(vlines):
        color = STYLE if line.style is None else _color(line.style)
        ax.axvline(line.x, color=color, linewidth=0.7, linestyle=(0, (2, 2)), zorder=1.5)
        ax.annotate(
            line.text, (line.x, 0.98 - 0.055 * (index % 8)), xycoords=("data", "axes fraction"), xytext=(3, 0),
            textcoords="offset points", ha="left", va="top", fontsize=7, color=color, annotation_clip=True,
        )  # fmt: skip


def _log_ticks(axis: Axis, low: float, high: float) -> None:
    """Set a few labeled ticks, even if the axis spans only a fraction of a decade."""
    axis.set_major_locator(_log_locator(low, high))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: power(value)))


def _log_locator(low: float, high: float) -> Locator:
    decades = math.log10(high / low) if 0 < low < high else 1.0
    if decades < 0.7:
        return MaxNLocator(4, steps=[1, 2, 5, 10])
    return LogLocator(subs=(1.0,) if decades > 2 else (1.0, 2.0, 5.0), numticks=7)


def _falling_ticks(ax: Axes) -> None:
    """Label an axis of negative logarithms with round values of the falling quantity."""
    low, high = ax.get_xlim()
    ends = 10**-high, 10**-low
    values = np.asarray(_log_locator(*ends).tick_values(*ends))
    values = values[values > 0]
    places: Floats = -np.log10(values)
    shown = (low <= places) & (places <= high)
    ax.set_xticks(places[shown], [power(value) for value in values[shown].tolist()])


def power(value: float) -> str:
    """Tick label of a logarithmic axis: ``0.05``, ``300``, ``10⁻⁶``, ``2·10⁵``."""
    if value <= 0 or 1e-3 <= value < 1e4:
        return f"{value:g}"
    digits, exponent = f"{value:.2e}".split("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    factor = f"{float(digits):g}"
    return f"10{raised}" if factor == "1" else f"{factor}·10{raised}"


def _curve(ax: Axes, curve: Curve, plot: ChartData) -> None:
    color, dash = _color(curve.style), _dash(curve.style)
    width, opacity = _STROKES[curve.weight]
    opacity *= curve.opacity
    width *= 2.0 if curve.bold else 1.0
    if curve.weight == "paper":
        dash = PAPER_DASH
    low, high = drawable(curve.low, log=plot.log_y), drawable(curve.high, log=plot.log_y)
    if curve.weight == "spread":
        ax.fill_between(curve.x, low, high, color=color, alpha=0.18, linewidth=0)
        return
    if not curve.is_line or len(curve.x) > DENSE:
        width *= 0.6
    if not curve.is_line and curve.weight == "main":
        ax.fill_between(curve.x, low, high, color=color, alpha=0.3, linewidth=0)
    mark = "o" if curve.is_line and (len(curve.x) == 1 or plot.log_x) else None
    for edge in (low,) if curve.is_line else (low, high):
        for y, strength in _parts(edge, curve.floor):
            ax.plot(
                curve.x, y, color=color, linestyle=dash, linewidth=width, alpha=opacity * strength, marker=mark,
                markersize=2.5,
            )  # fmt: skip
    _beyond(ax, curve, color)
    finite = np.flatnonzero(np.isfinite(high))
    if curve.diverged and len(finite):
        ax.plot(curve.x[finite[-1]], high[finite[-1]], "x", color=color, markersize=6)


def _parts(values: Floats, floor: Floats | None) -> list[tuple[Floats, float]]:
    """Parts of a line with their opacities: the whole line; with a floor, the whole line faint and the part not
    below the floor solid."""
    if floor is None:
        return [(values, 1.0)]
    return [(values, 0.35), (np.where(values < floor, np.nan, values), 1.0)]


def _beyond(ax: Axes, curve: Curve, color: str) -> None:
    """Mark infinite values with arrows at the edge of the panel."""
    for values, height, arrow in ((curve.high, 0.985, "^"), (curve.low, 0.015, "v")):
        at = curve.x[values == (np.inf if arrow == "^" else -np.inf)]
        if len(at):
            heights = np.full(len(at), height)
            ax.plot(at, heights, arrow, transform=ax.get_xaxis_transform(), color=color, markersize=4)


def _ridges(ax: Axes, ridges: Sequence[Ridge]) -> None:
    """Draw each distribution on its own baseline, with a peak height of 1.5 times the baseline spacing."""
    for index, ridge in enumerate(ridges):
        heights = 1.5 * ridge.density / ridge.density.max()
        x = np.repeat(ridge.edges, 2)
        y = index + np.concatenate([[0.0], np.repeat(heights, 2), [0.0]])
        color, order = _color(ridge.style), 20 - 2 * index
        ax.fill_between(x, index, y, color=color, alpha=0.3, linewidth=0, zorder=order)
        ax.plot(x, y, color=color, linewidth=0.9, zorder=order + 1)
    ax.set_yticks(range(len(ridges)), [ridge.label for ridge in ridges])
    ax.grid(visible=False, axis="y")


def _color(style: int) -> str:
    return PALETTE[style % len(PALETTE)]


def _dash(style: int) -> Dash:
    lengths = DASHES[dash_of(style)]
    return (0, lengths) if len(lengths) > 1 else "solid"


def _svg(figure: Figure) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = out.getvalue()
    text = text[text.index("<svg") :].rstrip()
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"\s*<defs>\s*<style.*?</style>\s*</defs>", "", text, count=1, flags=re.DOTALL)
    text = text.replace("'DejaVu Sans'", "system-ui, 'DejaVu Sans', sans-serif")
    return text.replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "").replace("xlink:href", "href")


def _with_prefix(text: str, prefix: str) -> str:
    """Prefix all ids, and drop those that nothing refers to."""
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))

    def renamed(match: re.Match[str]) -> str:
        return f' id="{prefix}-{match[1]}"' if match[1] in used else ""

    text = re.sub(r' id="([^"]*)"', renamed, text)
    return re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", text)


def _themed(text: str) -> str:
    """Replace fixed colors with the page's CSS variables, and drop the fixed size."""
    for index, color in enumerate(PALETTE):
        text = text.replace(color, f"var(--c{index})")
    text = text.replace(STYLE, "currentColor").replace(SOFT, "var(--grid)")
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    return re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)


Kind = Literal["svg", "png"]


def save_pictures(pictures: Sequence[Picture], folder: Path, kind: Kind) -> list[Path]:
    """Write each picture as ``<name>.<kind>`` into `folder`, creating it and replacing existing files.

    Raises:
        StoreError: the folder or a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written: {error.strerror}") from error
    paths = [folder / f"{picture.name}.{kind}" for picture in pictures]
    for picture, path in zip(pictures, paths, strict=True):
        write_out(path, content(picture, kind))
    return paths


def content(picture: Picture, kind: Kind) -> bytes:
    """Contents of the picture file, on white."""
    if kind == "svg":
        return picture_svg(picture).encode()
    out = io.BytesIO()
    with mpl.rc_context(_SETTINGS | {"savefig.facecolor": GROUND}):
        _whole(picture).savefig(out, format="png", dpi=150, metadata={"Software": None})
    return out.getvalue()
