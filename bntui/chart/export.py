"""A chart as a file: SVG of its picture, CSV of its numbers."""

from __future__ import annotations

import csv
import io

from rich.console import Console
from rich.segment import Segment, Segments
from rich.terminal_theme import DEFAULT_TERMINAL_THEME

from bntui.chart.data import ChartData
from bntui.chart.grid import cells, fitted
from bntui.chart.ink import ink, style_of
from bntui.chart.look import Look
from bntui.chart.palette import LIGHT, Palette, sample
from bntui.chart.picture import draw
from bntui.chart.view import View

SVG = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: {char_height}px;
    line-height: {line_height}px; font-variant-east-asian: full-width; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>{lines}</defs>
<rect width="{width}" height="{height}" fill="#FAFAFA" />
<g transform="translate({terminal_x}, {terminal_y})">{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""
"""rich's format without the window around it and without fonts from elsewhere."""


def svg(
    data: ChartData, width: int = 100, height: int = 30, view: View | None = None, look: Look | None = None
) -> str:
    """The chart as it is drawn in `width` x `height` cells, on a light ground unless `look` says otherwise, and
    below it which curve is which."""
    look = look or Look(LIGHT)
    grid = draw(data, width, height, view or View(), look).grid
    console = Console(
        record=True, width=width, file=io.StringIO(), color_system="truecolor", legacy_windows=False
    )
    rows = [[*grid.strip(row), Segment.line()] for row in range(height)] + legend(data, width, look.palette)
    console.print(Segments([segment for row in rows for segment in row]), end="")
    return console.export_svg(theme=DEFAULT_TERMINAL_THEME, code_format=SVG, unique_id="chart")


def legend(data: ChartData, width: int, palette: Palette) -> list[list[Segment]]:
    """Rows that name each run's curve beside a piece of it, as many as it takes."""
    rows: list[list[Segment]] = []
    room = 0
    for name, style in dict.fromkeys((curve.name, curve.style) for curve in data.curves if not curve.faint):
        ground = palette.background
        text = fitted(f" {name}  ", width - 5)
        if len(cells(text)) + 4 > room:
            rows.append([Segment(" ", style_of(ink(palette.text, ground))), Segment.line()])
            room = width - 1
        piece = Segment(sample(style), style_of(ink(palette.curve(style), ground)))
        rows[-1][-1:-1] = [piece, Segment(text, style_of(ink(palette.text, ground)))]
        room -= len(cells(text)) + 4
    return rows


def csv_text(data: ChartData) -> str:
    """A row for each point of each curve: curve, step, low, high, floor; low and high are equal on a line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["curve", data.x_name, "low", "high", "floor"])
    for curve in data.curves:
        floors = [""] * curve.x.size if curve.floor is None else curve.floor.tolist()
        points = zip(curve.x.tolist(), curve.low.tolist(), curve.high.tolist(), floors, strict=True)
        writer.writerows([curve.name, f"{x:.15g}", low, high, floor] for x, low, high, floor in points)
    return text.getvalue()
