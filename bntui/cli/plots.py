"""Static plots of runs in the terminal, by plotext: the explorer's charts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import typer

from bncore.measures import SHOWN
from bncore.store.measured import layers_of
from bntui.cli.drawn import drawn
from bntui.cli.grouped import Grouped
from bntui.cli.options import say
from bntui.cli.terminal_chart import draw
from bntui.live.drawing import PanelState
from bntui.live.panels import logged_keys
from bntui.live.snapshot import Snapshot, names_of_data

PLAIN, GROUPED = PanelState(), Grouped()


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


def plots(
    snapshot: Snapshot, state: PanelState = PLAIN, wanted: Grouped = GROUPED, keys: Sequence[str] = ()
) -> Iterator[str]:
    """A picture, as wide as the terminal, for each of these charts that any of the runs has data for.

    Arguments:
        keys: of `bntui.live.panels.PANELS`; none: all of what is drawn over the steps.
    """
    sources = ", ".join(names_of_data(snapshot.runs))
    for key in keys or (*(measure.key for measure in SHOWN), *logged_keys(snapshot.runs)):
        for name, data in drawn(key, snapshot, state, wanted).items():
            facet = f"{name} · " if name else ""
            picture = draw(replace(data, title=f"{facet}{data.title} on {sources}"))
            if picture:
                yield picture
            elif keys:
                say(f"{key}: {data.note or 'nothing to draw'}")
