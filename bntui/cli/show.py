"""`show`: plots of runs."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from bncore.follow.run_view import view_runs
from bntui.cli.format import figure, percent
from bntui.cli.inspect import runs_named
from bntui.cli.options import Json, Names, Root
from bntui.cli.plots import check_layer, labels, plots
from bntui.cli.tables import print_table

Layer = Annotated[
    int | None, typer.Option("--layer", min=1, help="Layer of per-layer plots.  [default: the middle one]")
]


def show(names: Names, layer: Layer = None, as_json: Json = False, root: Root = None) -> None:
    """Plot runs, and the runs of sweeps, together."""
    runs = runs_named(names, root)
    seen = view_runs(runs)
    if as_json:
        typer.echo(json.dumps([overview.as_json() for overview in seen], indent=2))
        return
    check_layer(runs, layer)
    for picture in plots(runs, layer):
        typer.echo(picture)
    rows = []
    for name, overview in zip(labels(runs), seen, strict=True):
        row = overview.as_json()
        step = figure(row["step"], ",.0f")
        losses = (figure(row["loss"]), figure(row["test_loss"]))
        rows.append((name, overview.state, step, *losses, percent(row["test_accuracy"])))
    print_table(("run", "state", "step", "loss", "test loss", "test accuracy"), rows)
