"""Charts of all layers at once: layer by step, profiles over layers at one step, distributions over time, and
Theorem 4.1 of Santurkar et al. (2018), term by term."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from bncore.config.measure import Measure
from bncore.figure import ChartData, Curve, Floats, HeatData, HistogramData, Span
from bncore.follow.run_view import RunView
from bncore.measures import MEASURES
from bncore.store.measured import layer_histograms, layers_of, rows, take
from bntui.chart.view import finite_ends
from bntui.live.drawing import (
    FAILED,
    PanelState,
    chosen_layer,
    emphasized,
    layer_names,
    layer_title,
    not_measured,
    row_at,
    vlines,
    why_empty,
)

INSTRUMENTS: dict[str, Measure] = {key: one for key, one in MEASURES.items() if one.per_layer}
"""Measures with a value for each layer, by key."""

LEAST_SHARE = 1e-3
"""Outer bins that never contain this share of a layer's output are not shown."""
MOST_BINS = 4096
"""Maximum number of bins: if a run's bins restarted far from the old ones, neighboring bins are merged."""


def heat(view: RunView, key: str) -> HeatData:
    """One per-layer measure of one run: a row per layer, the first layer at the bottom.

    Raises:
        KeyError: no such instrument.
    """
    measure = INSTRUMENTS[key]
    title = f"{view.name}, {measure.title}"
    numbers = layers_of(view.columns, measure)
    steps, values = rows(view.columns, measure)
    if not numbers or values.ndim != 2:
        note = why_empty([view], measure)
        return HeatData(title, np.empty(0), (), np.empty((0, 0)), measure.log, note)
    names = tuple(" ".join((str(n), *view.layer_names[n - 1 : n])) for n in numbers)
    return HeatData(title, steps, names, values, measure.log)


def heats(views: Sequence[RunView], key: str) -> dict[RunView, HeatData]:
    """As `heat`, for several runs, with one color scale for all.

    Raises:
        KeyError: no such instrument.
    """
    by_view = {view: heat(view, key) for view in views}
    ends = [finite_ends(one.values.ravel(), positive=one.log) for one in by_view.values()]
    spans = [pair for pair in ends if pair is not None]
    if not spans:
        return by_view
    span = (min(low for low, _ in spans), max(high for _, high in spans))
    return {view: replace(one, span=span) if one.x.size else one for view, one in by_view.items()}


def profile(views: Sequence[RunView], key: str, state: PanelState) -> ChartData:
    """One measure over the layers, at the crosshair's measurement or the newest: a line per run.

    Raises:
        KeyError: no such instrument.
    """
    measure = INSTRUMENTS[key]
    curves, when = _over_layers([(view.name, view.style, view, measure) for view in views], state.step)
    title, note = f"{measure.title}{when}", why_empty(views, measure)
    drawn = emphasized(curves, views, state.pinned)
    names, span = layer_names(views), layer_span(curves)
    return ChartData(title, drawn, log_y=measure.log, x_name="layer", x_span=span, note=note, x_names=names)


def layer_span(curves: Sequence[Curve]) -> Span | None:
    """Range of layers of the curves, since there is no layer 0; None if it contains a single layer."""
    ends = [end for curve in curves for end in (float(curve.x[0]), float(curve.x[-1]))]
    return (min(ends), max(ends)) if len({*ends}) > 1 else None


def _over_layers(
    lines: Iterable[tuple[str, int, RunView, Measure]], step: float | None
) -> tuple[list[Curve], str]:
    """A curve over the layers for each label, style, run and measure, at the newest measurement up to `step`; and
    ``, step 4,800`` if all were measured at the same step."""
    curves, at = [], set()
    for label, style, view, measure in lines:
        numbers = layers_of(view.columns, measure)
        steps, values = rows(view.columns, measure)
        if numbers and values.ndim == 2:
            row = row_at(steps, step)
            at.add(int(steps[row]))
            order = np.argsort(numbers)
            x, y = np.array(numbers, dtype=np.float64)[order], values[row][order]
            curves.append(Curve(label, style, x, y, y))
    return curves, f", step {at.pop():,}" if len(at) == 1 else ""


def histogram(view: RunView, state: PanelState) -> HistogramData:
    """Distribution of a layer's output over time, as densities on the bins of the newest measurement.

    Bins only ever widen, by doubling, so each earlier bin lies within one of the newest bins.
    """
    counted = INSTRUMENTS["mean"]
    layer = chosen_layer([view], counted, state)
    numbers = layers_of(view.columns, counted)
    title = f"{view.name}, output of {layer_title([view], layer)}"
    steps, counts, low, width = layer_histograms(view.columns, layer)
    if not len(steps):
        note = not_measured(layer, [view], counted) if numbers else why_empty([view], counted)
        note = "nothing finite was measured" if layer in numbers else note
        return HistogramData(title, np.empty(0), np.empty(0), np.empty((0, 0)), note)
    edges, density = _on_one_grid(counts, low, width)
    return HistogramData(title, steps, edges, density)


def histograms(views: Sequence[RunView], state: PanelState) -> dict[RunView, HistogramData]:
    """As `histogram`, for several runs, over one range of outputs: that of the runs that did not fail."""
    by_view = {view: histogram(view, state) for view in views}
    ends = [_usual(one) for view, one in by_view.items() if view.state not in FAILED and one.x.size]
    span = (min(low for low, _ in ends), max(high for _, high in ends)) if ends else None
    return {view: replace(one, span=span) for view, one in by_view.items()}


def _usual(data: HistogramData) -> Span:
    """Range of the outputs that are frequent enough, on average over the steps."""
    share = (data.density * np.diff(data.edges)).mean(axis=0)
    held = np.flatnonzero(share >= min(LEAST_SHARE, share.max()))
    return float(data.edges[held[0]]), float(data.edges[held[-1] + 1])


def _on_one_grid(counts: Floats, low: Floats, width: Floats) -> tuple[Floats, Floats]:
    """Histograms rebinned to the widest bins of all: edges (b + 1,) and densities (n, b).

    Arguments:
        counts: (n, bins).
        low, width: (n,) lower edge of the first bin, and bin width.
    """
    n, bins = counts.shape
    middles = low[:, None] + width[:, None] * (np.arange(bins) + 0.5)
    widest, lowest, highest = float(width.max()), float(low.min()), float(middles.max())
    while (highest - lowest) / widest > MOST_BINS:
        widest *= 2
    first = int(np.floor(lowest / widest))
    cells = np.floor(middles / widest).astype(np.int64) - first
    binned = np.zeros((n, int(cells.max()) + 1))
    np.add.at(binned, (np.arange(n)[:, None], cells), counts)
    share = binned / np.maximum(binned.sum(axis=1, keepdims=True), 1)
    held = np.flatnonzero((share >= LEAST_SHARE).any(axis=0))
    start, end = (int(held[0]), int(held[-1]) + 1) if len(held) else (0, binned.shape[1])
    edges = widest * np.arange(first + start, first + end + 1, dtype=np.float64)
    return edges, share[:, start:end] / widest


THEORY = "probe:theory"

PARTS = tuple(
    Measure(field, title, field, THEORY, per="layer")
    for field, title in {
        "lipschitz_left": "‖∇L̂‖², left side",
        "lipschitz_scale": "scale part",
        "lipschitz_mean": "mean part",
        "lipschitz_correlation": "correlation part",
        "lipschitz_corrected": "right side, corrected",
        "lipschitz_printed": "right side, as printed",
    }.items()
)
"""Left = scale - mean - correlation (PAPER, "Thm 4.1 ... an equality"), each with the factor γ²/(σ²+ε)."""


def theory_over_steps(view: RunView, state: PanelState) -> ChartData:
    """The terms for one layer over the steps, one curve each."""
    scale = PARTS[1]
    layer = chosen_layer([view], scale, state)
    curves = []
    for style, part in enumerate(PARTS):
        line = take(view.columns, part, layer)
        if len(line.x):
            curves.append(Curve(part.title, style, line.x, line.y, line.y))
    return ChartData(
        f"Thm 4.1, {layer_title([view], layer)}, {view.name}",
        tuple(curves),
        vlines([view], replace(state, grouping=None, axis="step")),
        log_y=True,
        note=_note(view, layer),
    )


def theory_over_layers(view: RunView, state: PanelState) -> ChartData:
    """The terms over the layers, at the crosshair's measurement or the newest."""
    parts = [(part.title, style, view, part) for style, part in enumerate(PARTS)]
    curves, when = _over_layers(parts, state.step)
    title = f"Thm 4.1 by layer{when}, {view.name}"
    span, names = layer_span(curves), view.layer_names
    return ChartData(
        title, tuple(curves), log_y=True, x_name="layer", x_span=span, note=_note(view, None), x_names=names
    )


def _note(view: RunView, layer: int | None) -> str:
    measured = view.columns.series(THEORY, "layers")
    if layer is not None and len(measured):
        return f"layer {layer} has no batch normalization"
    if view.columns.tables().count(THEORY):
        return "no layer has batch normalization"
    return why_empty([view], PARTS[0])
