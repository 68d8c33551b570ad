"""Static plots of runs in the terminal, by plotext: the explorer's charts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import typer

from bncore.measures import SHOWN
from bncore.store.measured import layers_of
from bntui.cli.terminal_chart import draw
from bntui.live.drawing import PanelState
from bntui.live.panels import PANELS, Panel, logged_keys
from bntui.live.snapshot import Snapshot, names_of_data

PLAIN = PanelState()


def check_layer(snapshot: Snapshot, layer: int | None) -> None:
    """Refuse a layer that was measured in none of the runs.

    Raises:
        BadParameter: naming what is accepted.
    """
    if layer is None:
        return
    numbers = {
        number
        for view in snapshot.runs
        for measure in SHOWN
        for number in (layers_of(view.columns, measure) if measure.per_layer else ())
    }
    if numbers and layer not in numbers:
        accepted = ", ".join(map(str, sorted(numbers)))
        raise typer.BadParameter(f"{layer}; expected one that was measured: {accepted}", param_hint="--layer")


def plots(snapshot: Snapshot, state: PanelState = PLAIN) -> Iterator[str]:
    """A picture for each of the measures shown that any of the runs has data for, as wide as the terminal."""
    sources = ", ".join(names_of_data(snapshot.runs))
    for measure in (*SHOWN, *(PANELS[key].measure for key in logged_keys(snapshot.runs))):
        data = Panel(measure).make(snapshot.runs, state)
        drawn = draw(replace(data, title=f"{data.title} on {sources}"))
        if drawn:
            yield drawn
