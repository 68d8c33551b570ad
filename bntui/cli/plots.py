"""Static plots of runs in the terminal, by plotext."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import typer
from numpy.typing import NDArray

from bncore.config.errors import escape_control
from bncore.figure import ChartData, Curve
from bncore.store.columns import Columns
from bncore.store.paths import RunDir
from bncore.store.reader import read
from bntui.cli.terminal_chart import draw


@dataclass(frozen=True)
class PlotPanel:
    """One plot: a field over the steps, of every run that has it."""

    title: str
    table: str
    field: str
    log: bool = False
    per_layer: bool = False
    """Whether the field has a value for each layer, one of which is drawn."""


PANELS = (
    PlotPanel("training loss", "step", "loss", log=True),
    PlotPanel("batch accuracy", "step", "accuracy"),
    PlotPanel("test loss", "eval", "test_loss", log=True),
    PlotPanel("test accuracy", "eval", "test_accuracy"),
    PlotPanel("ICS, l2 difference", "probe:ics", "l2", log=True, per_layer=True),
    PlotPanel("ICS, cosine", "probe:ics", "cosine", per_layer=True),
    PlotPanel("smallest loss along the gradient", "probe:landscape", "loss_min", log=True),
    PlotPanel("largest loss along the gradient", "probe:landscape", "loss_max", log=True),
    PlotPanel("effective Lipschitz constant of the loss", "probe:landscape", "lipschitz", log=True),
    PlotPanel("largest gradient difference", "probe:landscape", "grad_diff_max", log=True),
    PlotPanel("effective beta-smoothness", "probe:landscape", "beta", log=True),
    PlotPanel("mean of the layer's output", "probe:activations", "mean", per_layer=True),
    PlotPanel("variance of the layer's output", "probe:activations", "variance", log=True, per_layer=True),
    PlotPanel("share of dead units", "probe:activations", "dead", per_layer=True),
    PlotPanel(
        "Theorem 4.1, relative error as corrected",
        "probe:theory",
        "lipschitz_error",
        log=True,
        per_layer=True,
    ),
    PlotPanel("largest Hessian eigenvalue", "probe:sharpness", "eigenvalue", log=True),
)
"""Every plot of `bnrun show`; one row adds another."""


def check_layer(runs: list[RunDir], layer: int | None) -> None:
    """Refuse a layer that was measured in none of the runs.

    Raises:
        BadParameter: naming what is accepted.
    """
    if layer is None:
        return
    numbers = {
        int(number)
        for run in runs
        for panel in PANELS
        if panel.per_layer
        for row in read(run).advance().series(panel.table, "layers").values
        for number in row
    }
    if numbers and layer not in numbers:
        accepted = ", ".join(map(str, sorted(numbers)))
        raise typer.BadParameter(f"{layer}; expected one that was measured: {accepted}", param_hint="--layer")


def labels(runs: list[RunDir]) -> list[str]:
    """What each is called beside the others: as shortly as tells them apart."""
    short = [escape_control(run.path.name) for run in runs]
    for told in (short, [run.name for run in runs]):
        if len(set(told)) == len(told):
            return told
    return [escape_control(str(run.path)) for run in runs]


def plots(runs: list[RunDir], layer: int | None = None) -> Iterator[str]:
    """A picture for each panel that any of the runs has data for, as wide as the terminal.

    Arguments:
        runs: drawn together.
        layer: number of the layer, from 1, whose values per-layer panels draw; None: the middle one.
    """
    columns = {name: read(run).advance() for name, run in zip(labels(runs), runs, strict=True)}
    sources = sorted({escape_control(str(c.start["data"])) for c in columns.values() if "data" in c.start})
    for panel in PANELS:
        curves = tuple(
            Curve(name, style, line[0], line[1], line[1])
            for style, (name, c) in enumerate(columns.items())
            if (line := _line(c, panel, layer)) is not None
        )
        title = (
            f"{panel.title}, {_layer_title(columns.values(), panel, layer)}"
            if panel.per_layer
            else panel.title
        )
        drawn = draw(ChartData(f"{title} on {', '.join(sources)}", curves, log_y=panel.log))
        if drawn:
            yield drawn


def _position(columns: Columns, panel: PlotPanel, layer: int | None) -> int | None:
    """Where the values of the layer stand in a per-layer field; None where it was not measured."""
    numbers = columns.series(panel.table, "layers").values
    if not numbers.size:
        return None
    measured = [int(number) for number in numbers[-1]]
    wanted = measured[len(measured) // 2] if layer is None else layer
    return measured.index(wanted) if wanted in measured else None


def _layer_title(all_columns: Iterable[Columns], panel: PlotPanel, layer: int | None) -> str:
    for columns in all_columns:
        position = _position(columns, panel, layer)
        if position is not None:
            return f"layer {int(columns.series(panel.table, 'layers').values[-1][position])}"
    return f"layer {layer}"


def _line(
    columns: Columns, panel: PlotPanel, layer: int | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Steps and values; None where the run has none of them."""
    series = columns.series(panel.table, panel.field)
    values = series.values
    if panel.per_layer:
        position = _position(columns, panel, layer)
        if position is None or values.ndim != 2:
            return None
        values = values[:, position]
    return series.steps.astype(np.float64), values
