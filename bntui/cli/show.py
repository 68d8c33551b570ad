"""`show`: plots of runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Annotated

import typer

from bncore.aggregate import BANDS
from bncore.config.measure import Measure
from bncore.follow.groups import Newest, best, groups_of, newest
from bncore.follow.run_view import RunView, view_runs
from bncore.measures import MEASURES, SHOWN
from bncore.store.measured import Best, best_of, layers_of, take
from bntui.cli.drawn import CHART_HELP, check_charts, drawn, pinned_run
from bntui.cli.grouped import Grouped, check_grouped, grouping_of, warn_unplaced, with_drawing
from bntui.cli.options import Json, Names, Root, fail, refuse, say
from bntui.cli.select_runs import Where, runs_named
from bntui.cli.tables import figure, percent, print_table
from bntui.cli.terminal_chart import draw
from bntui.live.drawing import PanelState
from bntui.live.grouping import Grouping
from bntui.live.panels import logged_keys
from bntui.live.snapshot import Snapshot, names_of_data
from bntui.live.sources import read_whole

Layer = Annotated[
    int | None, typer.Option("--layer", min=1, help="Layer of per-layer plots.  [default: the middle one]")
]
Charts = Annotated[
    list[str] | None,
    typer.Option("--chart", help=f"{CHART_HELP}  [default: all with data]"),
]
COLUMNS = {"loss": figure, "test_loss": figure, "test_accuracy": percent}
"""Measures in the table, by key, with their formats."""
BEST = tuple(MEASURES[key] for key in ("test_accuracy", "test_loss", "loss"))
"""Measures for the best value; the first one that was measured is used."""
PLAIN, GROUPED = PanelState(), Grouped()
LEAST_FIRST = ("test loss", "loss", "step", "state")
"""Columns in the order in which they are dropped if the terminal is too narrow."""


@with_drawing
def show(
    names: Names = None,
    layer: Layer = None,
    chart: Charts = None,
    *,
    wanted: Grouped,
    as_json: Json = False,
    where: Where = None,
    root: Root = None,
) -> None:
    """Plot runs, and the runs of sweeps, together."""
    check_grouped(wanted, without="with --json" if as_json else "")
    check_charts(chart or (), wanted)
    runs = runs_named(names, root, where)
    if as_json:
        typer.echo(json.dumps([view.as_json() for view in view_runs(runs)], indent=2))
        return
    snapshot = read_whole(*runs)
    grouping = grouping_of(snapshot, wanted)
    _check_layer(snapshot, layer)
    warn_unplaced(snapshot, wanted.axis)
    pinned = pinned_run(snapshot, grouping.groups(snapshot.runs) if grouping else (), wanted.reference)
    state = PanelState(layer=layer, grouping=grouping, axis=wanted.axis, pinned=pinned)
    for picture in plots(snapshot, state, wanted, chart or ()):
        typer.echo(picture)
    heads = ("step", "loss", "test loss", "test accuracy")
    best_measure = next((one for one in BEST if any(_best(view, one) for view in snapshot.runs)), BEST[-1])
    best_head = f"best {best_measure.title.lower()}"
    rows = [
        (view.name, view.state, *_figures(view), _best_cell(_best(view, best_measure), best_measure))
        for view in snapshot.runs
    ]
    _print(("run", "state", *heads, best_head), rows)
    if grouping is not None:
        means = _means(snapshot, grouping, best_measure)
        _print(("mean of", "runs", *heads[1:], best_head), means)
        band = "range" if grouping.band == "envelope" else grouping.band
        logarithmic = " and ".join(MEASURES[key].title.lower() for key in COLUMNS if MEASURES[key].log)
        typer.echo(f"{logarithmic}: geometric means; in brackets: {BANDS[band]}")
    for view in snapshot.runs:
        if view.warning:
            typer.secho(f"{view.name}: {view.warning}", fg="yellow", err=True)
    unread = [f"{view.name}: {view.problem}" for view in snapshot.runs if view.problem]
    if unread:
        fail("\n".join(unread))


def _check_layer(snapshot: Snapshot, layer: int | None) -> None:
    """Refuse a layer that no run has measured.

    Raises:
        BadParameter: names the accepted layers.
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
        refuse("--layer", f"{layer}; expected one that was measured: {accepted}")


def plots(
    snapshot: Snapshot, state: PanelState = PLAIN, wanted: Grouped = GROUPED, keys: Sequence[str] = ()
) -> Iterator[str]:
    """A plot, as wide as the terminal, for each of these charts that has data.

    Arguments:
        keys: keys of `bntui.live.panels.PANELS`; empty: all measures and logged metrics over steps.
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


def _figures(view: RunView) -> tuple[str, ...]:
    row = view.as_json()
    return figure(row["step"], ",.0f"), *(write(row[key]) for key, write in COLUMNS.items())


def _print(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print the table; in a narrow terminal, columns are dropped, first those without any values."""
    empty = [name for name, *cells in zip(head, *rows, strict=True) if {*cells} == {"-"}]
    print_table(head, rows, least_first=[*empty, *LEAST_FIRST])


def _best(view: RunView, measure: Measure) -> Best | None:
    return best_of(take(view.columns, measure), measure)


def _best_cell(best_value: Best | None, measure: Measure) -> str:
    """Best value and its step, such as ``67.4 % @3,000``."""
    return f"{COLUMNS[measure.key](best_value.value)} @{best_value.step:,}" if best_value else "-"


def _means(snapshot: Snapshot, grouping: Grouping, best_measure: Measure) -> list[tuple[str, ...]]:
    """A row for each group: newest values and best value of its mean, without runs that have left the group."""
    rows = []
    for group in groups_of(snapshot.runs, grouping.by):
        means = {key: newest(group, MEASURES[key], grouping.band) for key in COLUMNS}
        runs = max((one.runs for one in means.values() if one is not None), default=0)
        counted = f"{runs}" if runs == len(group.runs) else f"{runs} of {len(group.runs)}"
        cells = (_cell(one, COLUMNS[key]) for key, one in means.items())
        rows.append((group.name, counted, *cells, _best_cell(best(group, best_measure), best_measure)))
    return rows


def _cell(mean: Newest | None, write: Callable[[float | None], str]) -> str:
    """Mean and band, such as ``0.66 [0.62, 0.71]``; only the mean if the band has no width."""
    if mean is None or not mean.low < mean.high:
        return write(mean.mean if mean else None)
    return f"{write(mean.mean)} [{write(mean.low)}, {write(mean.high)}]"
