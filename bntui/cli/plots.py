"""Static plots of runs in the terminal, by plotext."""

from __future__ import annotations

from collections.abc import Iterator

import typer

from bncore.config.errors import escape_control
from bncore.figure import ChartData, Curve
from bncore.measures import SHOWN
from bncore.store.measured import layers_of, middle_layer, take, upper
from bncore.store.paths import RunDir
from bncore.store.reader import read
from bntui.cli.terminal_chart import draw


def check_layer(runs: list[RunDir], layer: int | None) -> None:
    """Refuse a layer that was measured in none of the runs.

    Raises:
        BadParameter: naming what is accepted.
    """
    if layer is None:
        return
    numbers = {
        number
        for columns in (read(run).advance() for run in runs)
        for measure in SHOWN
        for number in (layers_of(columns, measure) if measure.per_layer else ())
    }
    if numbers and layer not in numbers:
        accepted = ", ".join(map(str, sorted(numbers)))
        raise typer.BadParameter(f"{layer}; expected one that was measured: {accepted}", param_hint="--layer")


def labels(runs: list[RunDir]) -> list[str]:
    """What each is called beside the others: as shortly as tells them apart."""
    short = [escape_control(run.path.name) for run in runs]
    for names in (short, [run.name for run in runs]):
        if len(set(names)) == len(names):
            return names
    return [escape_control(str(run.path)) for run in runs]


def plots(runs: list[RunDir], layer: int | None = None) -> Iterator[str]:
    """A picture for each of the measures shown that any of the runs has data for, as wide as the terminal.

    Arguments:
        runs: drawn together.
        layer: number of the layer, from 1, whose values per-layer measures draw; None: the middle one.
    """
    columns = {name: read(run).advance() for name, run in zip(labels(runs), runs, strict=True)}
    sources = sorted({escape_control(str(c.start["data"])) for c in columns.values() if "data" in c.start})
    for measure in SHOWN:
        title, number = measure.title, layer
        if measure.per_layer:
            number = middle_layer(columns.values(), measure) if layer is None else layer
            title = f"{title}, layer {number}"
        curves = []
        for style, (name, of_run) in enumerate(columns.items()):
            low, high = take(of_run, measure, number), upper(of_run, measure, number)
            if len(low.x) and (high is None or len(high.x) == len(low.x)):
                curves.append(Curve(name, style, low.x, low.y, low.y if high is None else high.y))
        drawn = draw(ChartData(f"{title} on {', '.join(sources)}", tuple(curves), log_y=measure.log))
        if drawn:
            yield drawn
