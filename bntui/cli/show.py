"""`show`: plots of runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from bncore.aggregate import BANDS
from bncore.config.measure import Measure
from bncore.follow.groups import Newest, best, groups_of, newest
from bncore.follow.run_view import RunView, view_runs
from bncore.measures import MEASURES
from bncore.store.measured import Best, best_of, take
from bntui.cli.drawn import check_charts, pinned_run
from bntui.cli.format import figure, percent
from bntui.cli.grouped import (
    AxisOption,
    BandOption,
    By,
    Facets,
    Grouped,
    Reference,
    Single,
    YRange,
    check_grouped,
    grouping_of,
    warn_unplaced,
)
from bntui.cli.options import Json, Names, Root, fail
from bntui.cli.plots import check_layer, plots
from bntui.cli.select_runs import Where, runs_named
from bntui.cli.tables import print_table
from bntui.live.drawing import PanelState
from bntui.live.grouping import Grouping
from bntui.live.snapshot import Snapshot
from bntui.live.sources import read_whole

Layer = Annotated[
    int | None, typer.Option("--layer", min=1, help="Layer of per-layer plots.  [default: the middle one]")
]
Charts = Annotated[
    list[str] | None,
    typer.Option("--chart", help="Chart to plot; repeatable.  [default: all with data]"),
]
COLUMNS = {"loss": figure, "test_loss": figure, "test_accuracy": percent}
"""Keys of the measures of a table, and how they are written."""
BEST = tuple(MEASURES[key] for key in ("test_accuracy", "test_loss", "loss"))
"""Of the first of these that was measured, the best value is told."""
LEAST_FIRST = ("test loss", "loss", "step", "state")
"""Which columns are left out where the terminal is too narrow."""


def show(
    names: Names = None,
    layer: Layer = None,
    single: Single = False,
    by: By = None,
    band: BandOption = None,
    axis: AxisOption = "step",
    chart: Charts = None,
    y_range: YRange = None,
    facets: Facets = None,
    reference: Reference = None,
    as_json: Json = False,
    where: Where = None,
    root: Root = None,
) -> None:
    """Plot runs, and the runs of sweeps, together."""
    wanted = Grouped(single, by, band, axis, y_range, facets, reference)
    check_grouped(wanted, without="with --json" if as_json else "")
    check_charts(chart or (), wanted)
    runs = runs_named(names, root, where)
    if as_json:
        typer.echo(json.dumps([view.as_json() for view in view_runs(runs)], indent=2))
        return
    snapshot = read_whole(*runs)
    grouping = grouping_of(snapshot, wanted)
    check_layer(snapshot, layer)
    warn_unplaced(snapshot, axis)
    pinned = pinned_run(snapshot, grouping.groups(snapshot.runs) if grouping else (), reference)
    state = PanelState(layer=layer, grouping=grouping, axis=axis, pinned=pinned)
    for picture in plots(snapshot, state, wanted, chart or ()):
        typer.echo(picture)
    heads = ("step", "loss", "test loss", "test accuracy")
    best_measure = next((one for one in BEST if any(_best(view, one) for view in snapshot.runs)), BEST[-1])
    best_head = f"best {best_measure.title.lower()}"
    rows = [
        (
            view.name,
            seen.state,
            *_figures(seen.as_json()),
            _best_cell(_best(view, best_measure), best_measure),
        )
        for view, seen in zip(snapshot.runs, view_runs(runs), strict=True)
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


def _figures(row: dict[str, Any]) -> tuple[str, ...]:
    return figure(row["step"], ",.0f"), *(write(row[key]) for key, write in COLUMNS.items())


def _print(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """The table, in a narrow terminal without columns, first those that nobody has a value of."""
    empty = [name for name, *cells in zip(head, *rows, strict=True) if {*cells} == {"-"}]
    print_table(head, rows, least_first=[*empty, *LEAST_FIRST])


def _best(view: RunView, measure: Measure) -> Best | None:
    return best_of(take(view.columns, measure), measure)


def _best_cell(found: Best | None, measure: Measure) -> str:
    """``67.4 % @3,000``."""
    return f"{COLUMNS[measure.key](found.value)} @{found.step:,}" if found else "-"


def _means(snapshot: Snapshot, grouping: Grouping, best_measure: Measure) -> list[tuple[str, ...]]:
    """A row for each group: its newest values and the best of its mean, without the runs that have left it."""
    rows = []
    for group in groups_of(snapshot.runs, grouping.by):
        found = {key: newest(group, MEASURES[key], grouping.band) for key in COLUMNS}
        runs = max((one.runs for one in found.values() if one is not None), default=0)
        counted = f"{runs}" if runs == len(group.runs) else f"{runs} of {len(group.runs)}"
        cells = (_cell(one, COLUMNS[key]) for key, one in found.items())
        rows.append((group.name, counted, *cells, _best_cell(best(group, best_measure), best_measure)))
    return rows


def _cell(found: Newest | None, write: Callable[[float | None], str]) -> str:
    """``0.66 [0.62, 0.71]``; the mean alone where the band has no width."""
    if found is None or not found.low < found.high:
        return write(found.mean if found else None)
    return f"{write(found.mean)} [{write(found.low)}, {write(found.high)}]"
