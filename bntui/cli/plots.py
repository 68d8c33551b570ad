"""Static plots of runs in the terminal, by plotext."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import plotext
import typer

from bncore.config.errors import escape_control
from bncore.store.columns import Columns
from bncore.store.paths import RunDir
from bncore.store.reader import read

HEIGHT = 16
PIPED_WIDTH = 100
FEWEST_TICKS, MOST_TICKS = 3, 7
"""Labels of an axis of logarithms."""
PLAIN_POWERS = 4
"""Powers of ten up to here are written out."""
POINTS = 100
"""Most points a line is drawn from; of a longer series each is the mean of equally many neighbours."""
PLAIN_MARKERS = "ox+*#@%&"
"""What tells lines apart where there is no colour."""
COLORS = ("blue+", "orange+", "green+", "red+", "magenta+", "cyan+", "gray+", "white")


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
        lines = {name: line for name, c in columns.items() if (line := _line(c, panel, layer)) is not None}
        if lines:
            title = (
                f"{panel.title}, {_layer_title(columns.values(), panel, layer)}"
                if panel.per_layer
                else panel.title
            )
            yield draw(f"{title} on {', '.join(sources)}", lines, log=panel.log)


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


def _line(columns: Columns, panel: PlotPanel, layer: int | None) -> tuple[list[float], list[float]] | None:
    """Steps and values to draw: finite ones, logarithms where asked, means of neighbours in a long series."""
    series = columns.series(panel.table, panel.field)
    steps, values = series.steps, series.values
    if panel.per_layer:
        position = _position(columns, panel, layer)
        if position is None or values.ndim != 2:
            return None
        values = values[:, position]
    keep = np.isfinite(values)
    if panel.log:
        keep &= values > 0
    steps, values = steps[keep], values[keep]
    if not len(steps):
        return None
    values = np.log10(values) if panel.log else values
    count = -(-len(steps) // POINTS)
    starts = np.arange(0, len(steps), count)
    sizes = np.diff(np.append(starts, len(steps)))
    return (np.add.reduceat(steps, starts) / sizes).tolist(), (
        np.add.reduceat(values, starts) / sizes
    ).tolist()


def _log_ticks(values: Sequence[float]) -> tuple[list[float], list[str]]:
    """Where to label an axis of logarithms, and with which values: powers of ten where they suffice, else 2 and 5
    times them, else round numbers in between."""
    low, high = min(values), max(values)
    first, last = math.floor(low), math.ceil(high)
    stride = -(-(last - first) // MOST_TICKS) or 1
    powers = [float(k) for k in range(first, last + 1) if k % stride == 0]
    for factors in ((1,), (1, 2, 5), tuple(range(1, 10)), tuple(x / 10 for x in range(10, 100))):
        ticks = [k + math.log10(f) for k in powers for f in factors]
        ticks = [tick for tick in ticks if low - 1e-9 <= tick <= high + 1e-9]
        if len(ticks) >= FEWEST_TICKS:
            ticks = ticks[:: -(-len(ticks) // MOST_TICKS)]
            return ticks, [_power(tick) for tick in ticks]
    ends = [low, high] if high > low else [low]
    return ends, [f"{10**tick:.5g}" for tick in ends]


def _power(exponent: float) -> str:
    """``0.1``, ``20``, ``10^7`` or ``2e7``: the value of a tick at that logarithm."""
    whole = round(exponent)
    if abs(exponent - whole) < 1e-9:
        return f"{10.0**whole:g}" if abs(whole) <= PLAIN_POWERS else f"10^{whole}"
    power = math.floor(exponent)
    digits = f"{10 ** (exponent - power):.2g}"
    return f"{float(digits) * 10.0**power:.6g}" if abs(power) <= PLAIN_POWERS else f"{digits}e{power}"


def draw(title: str, lines: dict[str, tuple[list[float], list[float]]], *, log: bool) -> str:
    """A picture of lines, each as steps and values; logarithms are taken already."""
    on_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if on_terminal else PIPED_WIDTH
    figure = plotext
    figure.clear_figure()
    figure.theme("clear")
    figure.plotsize(width, HEIGHT)
    figure.title(title)
    figure.xlabel("step")
    if log:
        figure.yticks(*_log_ticks([value for _, values in lines.values() for value in values]))
    for i, (name, (steps, values)) in enumerate(lines.items()):
        marker = "braille" if on_terminal else PLAIN_MARKERS[i % len(PLAIN_MARKERS)]
        figure.plot(steps, values, label=name, color=COLORS[i % len(COLORS)], marker=marker)
    picture = str(figure.build())
    return picture if on_terminal else str(figure.uncolorize(picture))
