"""Every chart that can be asked for, by its key; a new one is a row here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bncore.figure import ChartData
from bncore.follow.run_view import RunView
from bntui.live.drawing import (
    Line,
    Measure,
    Panel,
    PanelState,
    chosen_layer,
    curve_of,
    layer_title,
    marks,
    take,
    why_empty,
)
from bntui.live.landscape import LANDSCAPE_PANELS
from bntui.live.reference import overlay


@dataclass(frozen=True)
class LineChart:
    """A line a run."""

    key: str
    title: str
    measure: Measure
    log: bool = False
    floor: Measure | None = None
    """The noise floor of the measure."""
    floor_unit: str = ""
    """The field in whose unit the floor is, where it is not the measure's: the floor is scaled from one to the
    other."""

    def panel(self) -> Panel:
        """What a picker offers."""
        return Panel(self.key, self.title, self.make)

    def make(self, views: Sequence[RunView], state: PanelState) -> ChartData:
        """The chart of these runs."""
        measure, layer = self.measure, None
        title = self.title
        if measure.per_layer:
            layer = chosen_layer(views, measure, state)
            title = f"{title}, {layer_title(views, measure, layer)}"
        lines = {view: take(view.columns, measure, layer) for view in views}
        curves = [
            curve
            for view, line in lines.items()
            for curve in curve_of(views, view, line, floor=self._floor(view, layer))
        ]
        note = why_empty(views, measure.table)
        if not curves and measure.per_layer and chosen_layer(views, measure, PanelState()) is not None:
            note = f"layer {layer} was not measured"
        curves += overlay(self.key, views, state, layer)
        return ChartData(title, tuple(curves), marks(views), log_y=self.log, note=note)

    def _floor(self, view: RunView, layer: int | None) -> Line | None:
        if self.floor is None:
            return None
        floor = take(view.columns, self.floor, layer)
        if not self.floor_unit:
            return floor
        own = take(view.columns, self.measure, layer)
        unit = take(view.columns, replace(self.measure, field=self.floor_unit), layer)
        at = np.isin(own.x, floor.x)
        if len(own.x) != len(unit.x) or int(at.sum()) != len(floor.x):
            return None
        with np.errstate(all="ignore"):
            return Line(floor.x, floor.y * own.y[at] / unit.y[at])


def _layer(probe: str, field: str, over: str = "") -> Measure:
    return Measure(f"probe:{probe}", field, True, over)


_ICS_FLOOR = _layer("ics", "floor")

ICS_CHARTS = (
    LineChart("ics_l2", "ICS ‖G − G′‖", _layer("ics", "l2"), log=True, floor=_ICS_FLOOR),
    LineChart("ics_cosine", "ICS cos(G, G′)", _layer("ics", "cosine")),
    LineChart(
        "ics_relative",
        "ICS ‖G − G′‖ / ‖G‖",
        _layer("ics", "relative"),
        log=True,
        floor=_ICS_FLOOR,
        floor_unit="l2",
    ),
)
LAYER_CHARTS = (
    *ICS_CHARTS,
    LineChart("mean", "Mean of the output", _layer("activations", "mean")),
    LineChart("variance", "Variance of the output", _layer("activations", "variance"), log=True),
    LineChart("mean_step", "|Δμ| between measurements", _layer("activations", "mean_step"), log=True),
    LineChart(
        "variance_step", "|Δσ²| between measurements", _layer("activations", "variance_step"), log=True
    ),
    LineChart("mean_drift", "|μ − μ₀|", _layer("activations", "mean_drift")),
    LineChart("variance_drift", "|σ² − σ₀²|", _layer("activations", "variance_drift")),
    LineChart("unit_mean", "Mean of one unit", _layer("activations", "unit_mean")),
    LineChart("unit_variance", "Variance of one unit", _layer("activations", "unit_variance"), log=True),
    LineChart("dead", "Share of dead units", _layer("activations", "dead")),
    LineChart(
        "theory_reduction",
        "Thm 4.1: ‖∇L̂‖² over its scale part",
        _layer("theory", "lipschitz_left", "lipschitz_scale"),
    ),
    LineChart(
        "theory_41_error", "Thm 4.1: error as corrected", _layer("theory", "lipschitz_error"), log=True
    ),
    LineChart("theory_printed_fails", "Thm 4.1: fails as printed", _layer("theory", "printed_fails")),
    LineChart("theory_42_error", "Thm 4.2: relative error", _layer("theory", "hessian_error"), log=True),
    LineChart(
        "theory_44", "Thm 4.4: gradient over its bound", _layer("theory", "worst_actual", "worst_bound")
    ),
    LineChart("layer_grad_norm", "‖∇_W L‖", _layer("sharpness", "layer_grad_norm"), log=True),
    LineChart("weight_norm", "‖W‖", _layer("sharpness", "weight_norm")),
    LineChart("relative_update", "‖ΔW‖ / ‖W‖", _layer("sharpness", "relative_update"), log=True),
    LineChart("effective_lr", "lr / ‖W‖²", _layer("sharpness", "effective_lr"), log=True),
)
"""What has a value for each layer: a chart of one layer, and a row each in `bntui.live.layers`."""

TRAINING_CHARTS = (
    LineChart("loss", "Training loss", Measure("step", "loss"), log=True),
    LineChart("accuracy", "Batch accuracy", Measure("step", "accuracy")),
    LineChart("test_loss", "Test loss", Measure("eval", "test_loss"), log=True),
    LineChart("test_accuracy", "Test accuracy", Measure("eval", "test_accuracy")),
)
FURTHER_CHARTS = (
    LineChart("train_loss", "Loss on training samples", Measure("eval", "train_loss"), log=True),
    LineChart("train_accuracy", "Accuracy on training samples", Measure("eval", "train_accuracy")),
    LineChart("grad_norm", "‖g‖", Measure("step", "grad_norm"), log=True),
    LineChart("penalty", "Weight penalty", Measure("step", "penalty")),
    LineChart("lr", "Learning rate", Measure("step", "lr")),
)

PANELS: dict[str, Panel] = {
    panel.key: panel
    for panel in (
        *map(LineChart.panel, (*TRAINING_CHARTS, *ICS_CHARTS)),
        *LANDSCAPE_PANELS,
        *map(LineChart.panel, FURTHER_CHARTS),
        *(chart.panel() for chart in LAYER_CHARTS if chart not in ICS_CHARTS),
    )
}
"""In the order in which a picker lists them."""

FIRST = ("loss", "accuracy", "ics_l2", "loss_band", "gradient_predictiveness", "beta")
"""Keys of what is shown where nothing else was chosen."""
FIRST_OF_REGRESSION = ("loss", "test_loss", "ics_l2", "loss_band", "gradient_predictiveness", "beta")
"""The same for runs that have no accuracy."""


def first_panels(views: Sequence[RunView]) -> tuple[str, ...]:
    """Keys of what is shown of these runs where nothing else was chosen."""
    specs = [view.spec for view in views if view.spec]
    regression = bool(specs) and all(spec.loss.kind == "squared_error" for spec in specs)
    return FIRST_OF_REGRESSION if regression else FIRST
