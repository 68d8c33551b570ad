"""How long drawing takes: a refresh of four charts of four long series, beside plotext drawing the same."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import plotext
from textual.strip import Strip

from bntui.chart.data import ChartData, Curve
from bntui.chart.look import Look
from bntui.chart.picture import draw

CHARTS, SERIES, POINTS = 4, 4, 20_000
WIDTH, HEIGHT = 63, 23
"""A quarter of a screen of 160 x 48 that has a list beside the charts."""


def draw_bench(repeats: int = 20) -> dict[str, float]:
    """Medians in milliseconds of drawing all charts anew, in this process, to the strips or text for the terminal.

    Returns:
        `refresh_ms`, `smoothed_ms` (with the raw curves behind) and `plotext_ms`; `ratio` is the last over the
        first. plotext is slow and gets a tenth of the repeats, at least three.
    """
    charts = [example(seed) for seed in range(CHARTS)]
    slow = max(3, repeats // 10)
    refresh = _median(lambda: [_strips(chart, Look()) for chart in charts], repeats)
    smooth = _median(lambda: [_strips(chart, Look(smoothing=0.9)) for chart in charts], repeats)
    beside = _median(lambda: [_plotext(chart) for chart in charts], slow)
    return {"refresh_ms": refresh, "smoothed_ms": smooth, "plotext_ms": beside, "ratio": beside / refresh}


def example(seed: int) -> ChartData:
    """Losses of four runs as they look: falling, with noise, on a logarithmic axis."""
    generator = np.random.default_rng(seed)
    x = np.arange(POINTS, dtype=float)
    curves = []
    for style in range(SERIES):
        trend = 2.3 * np.exp(-x / POINTS * (2 + style)) + 0.05
        values = trend * np.exp(generator.normal(0, 0.1, POINTS))
        curves.append(Curve(f"run {style}", style, x, values, values))
    return ChartData("Loss", tuple(curves), log_y=True)


def _strips(chart: ChartData, look: Look) -> list[Strip]:
    grid = draw(chart, WIDTH, HEIGHT, look=look).grid
    return [grid.strip(row) for row in range(grid.height)]


def _plotext(chart: ChartData) -> str:
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(WIDTH, HEIGHT)
    plotext.title(chart.title)
    for curve in chart.curves:
        plotext.plot(curve.x.tolist(), np.log10(curve.high).tolist(), marker="braille")
    return str(plotext.build())


def _median(draw_all: Callable[[], Sequence[object]], repeats: int) -> float:
    """Milliseconds; the first call, which fills caches, does not count."""
    draw_all()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        draw_all()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)
