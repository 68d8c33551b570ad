"""Theorem 4.1 of Santurkar et al. (2018), part by part, in one run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bncore.config.measure import Measure
from bncore.figure import ChartData, Curve
from bncore.follow.run_view import RunView
from bncore.store.measured import layers_of, rows, take
from bntui.live.drawing import PanelState, chosen_layer, layer_title, row_at, vlines, why_empty
from bntui.live.layers import layer_span

TABLE = "probe:theory"

PARTS = tuple(
    Measure(field, title, field, TABLE, per="layer")
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
    """The parts for one layer over the steps; a part is a curve."""
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
    """The parts over the layers, at the crosshair's measurement or the newest."""
    curves, when = [], ""
    for style, part in enumerate(PARTS):
        numbers = layers_of(view.columns, part)
        steps, values = rows(view.columns, part)
        if numbers and values.ndim == 2:
            row = row_at(steps, state.step)
            when = f", step {int(steps[row]):,}"
            y = values[row]
            curves.append(Curve(part.title, style, np.array(numbers, dtype=np.float64), y, y))
    title = f"Thm 4.1 by layer{when}, {view.name}"
    span, names = layer_span(curves), view.layer_names
    return ChartData(
        title, tuple(curves), log_y=True, x_name="layer", x_span=span, note=_note(view, None), x_names=names
    )


def _note(view: RunView, layer: int | None) -> str:
    measured = view.columns.series(TABLE, "layers")
    if layer is not None and len(measured):
        return f"layer {layer} has no batch normalization"
    if view.columns.tables().count(TABLE):
        return "no layer has batch normalization"
    return why_empty([view], PARTS[0])
