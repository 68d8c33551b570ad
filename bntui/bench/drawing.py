"""Drawing time of four charts with four long series each, compared with plotext."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import plotext
from textual.strip import Strip

from bncore.aggregate import Aggregate, Member, aggregate
from bncore.figure import ChartData, Curve
from bntui.chart.frame import ChartStyle
from bntui.chart.picture import draw
from bntui.live.grouping import MOST_STEPS

CHARTS, SERIES = 4, 4
GROUPS, MEMBERS = 3, 5
WIDTH, HEIGHT = 63, 23
"""Size of each chart in cells: a quarter of a 160 x 48 screen with a sidebar."""


@dataclass(frozen=True)
class FrameTimes:
    """Median times to redraw all charts, in this process."""

    ours_ms: float
    """Up to the strips that are sent to the terminal."""
    smoothed_ms: float
    """The same with raw curves behind smoothed ones."""
    grouped_ms: float
    """Charts of `GROUPS` means of `MEMBERS` series each, with bands, after a new point in every series."""
    plotext_ms: float
    """plotext, up to the text that is sent to the terminal."""
    plotext_bytes: float
    """Size of that text: plotext always sends the whole chart."""


def drawn(points: int, repeats: int) -> FrameTimes:
    """Time charts of `points` points per curve. plotext is slow and gets a tenth of the repeats, at least two."""
    charts = [example(seed, points) for seed in range(CHARTS)]
    return FrameTimes(
        _median_ms(lambda: [_strips(chart, ChartStyle()) for chart in charts], repeats),
        _median_ms(lambda: [_strips(chart, ChartStyle(smoothing=0.6)) for chart in charts], repeats),
        _median_ms(grouped_frame(points, repeats), repeats),
        _median_ms(lambda: [_plotext(chart) for chart in charts], max(2, repeats // 10)),
        sum(len(_plotext(chart).encode()) for chart in charts),
    )


def example(seed: int, points: int) -> ChartData:
    """Realistic losses of four runs: falling, noisy, on a logarithmic axis."""
    generator = np.random.default_rng(seed)
    x = np.arange(points, dtype=float)
    curves = []
    for style in range(SERIES):
        trend = 2.3 * np.exp(-x / points * (2 + style)) + 0.05
        values = trend * np.exp(generator.normal(0, 0.1, points))
        curves.append(Curve(f"run {style}", style, x, values, values))
    return ChartData("Loss", tuple(curves), log_y=True)


def grouped_frame(points: int, repeats: int) -> Callable[[], list[list[Strip]]]:
    """Function that draws all charts with the means of growing series; each call adds a point to every series."""
    x = np.arange(points + repeats + 1, dtype=float)
    losses = [
        curve.low
        for seed in range(CHARTS * GROUPS * MEMBERS // SERIES)
        for curve in example(seed, len(x)).curves
    ]
    previous: dict[tuple[int, int], Aggregate] = {}
    shown = points

    def frame() -> list[list[Strip]]:
        nonlocal shown
        shown += 1
        pictures = []
        for chart in range(CHARTS):
            curves = []
            for group in range(GROUPS):
                first = (chart * GROUPS + group) * MEMBERS
                members = [Member(x[:shown], y[:shown], ended=False) for y in losses[first : first + MEMBERS]]
                before = previous.get((chart, group))
                mean = aggregate(members, log=True, most=MOST_STEPS, before=before)
                previous[chart, group] = mean
                curves.append(Curve("band", group, mean.x, mean.low, mean.high, weight="spread"))
                curves.append(Curve("mean", group, mean.x, mean.mean, mean.mean))
            pictures.append(_strips(ChartData("Loss", tuple(curves), log_y=True), ChartStyle()))
        return pictures

    return frame


def _strips(chart: ChartData, chart_style: ChartStyle) -> list[Strip]:
    grid = draw(chart, WIDTH, HEIGHT, chart_style=chart_style).grid
    return [grid.strip(row) for row in range(grid.height)]


def _plotext(chart: ChartData) -> str:
    plotext.clear_figure()
    plotext.theme("pro")
    plotext.plotsize(WIDTH, HEIGHT)
    plotext.title(chart.title)
    for curve in chart.curves:
        plotext.plot(curve.x.tolist(), np.log10(curve.high).tolist(), marker="braille")
    return str(plotext.build())


def _median_ms(work: Callable[[], object], repeats: int) -> float:
    """Median time of a call in milliseconds, not counting the first one, which fills caches."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)
