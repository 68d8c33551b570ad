"""`export`: tables and charts as files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bncore import load_run
from bncore.config.errors import escape_control
from bncore.store.export import export_csv, export_parquet, export_paths
from bncore.store.paths import RunDir
from bncore.store.tensorboard import export_tensorboard
from bntui.cli.grouped import AxisOption, BandOption, By, Grouped, Single, check_grouped
from bntui.cli.options import Names, Root, fail
from bntui.cli.select_runs import Where, in_words, places_named, runs_of


def export(
    names: Names = None,
    csv: Annotated[bool, typer.Option("--csv", help="One CSV file per table.")] = False,
    parquet: Annotated[
        bool, typer.Option("--parquet", help="One Parquet file per table (needs pyarrow).")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="One TensorBoard event file (needs tensorboard).")
    ] = False,
    svg: Annotated[
        bool, typer.Option("--svg", help="One SVG file per chart, with all runs of a sweep.")
    ] = False,
    chart: Annotated[
        list[str] | None,
        typer.Option("--chart", help="Chart for --svg; repeatable.  [default: as bntui shows]"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Output directory.  [default: <sweep>-<run>]")
    ] = None,
    single: Single = False,
    by: By = None,
    band: BandOption = None,
    axis: AxisOption = "step",
    where: Where = None,
    root: Root = None,
) -> None:
    """Write a run's tables or charts as files.

    Prints their paths; existing files are never overwritten."""
    if chart and not svg:
        raise typer.BadParameter("given without --svg; expected both", param_hint="--chart")
    if not (csv or parquet or tensorboard or svg):
        expected = "missing; expected --csv, --parquet, --tensorboard or --svg"
        raise typer.BadParameter(expected, param_hint="--csv")
    wanted = Grouped(single, by, band, axis)
    check_grouped(wanted, without="" if svg else "without --svg")
    if svg:
        from bntui.cli.charts import check_charts, export_svg  # noqa: PLC0415 - matplotlib

        check_charts(chart or ())
    if out is not None and not out.name:
        raise typer.BadParameter(f"{str(out)!r}; expected a folder of its own", param_hint="--out")
    places = places_named(names, root, where)
    runs = [run for place in places for run in runs_of(place)]
    called = places[0].name if len(places) == 1 else "runs"
    if svg:
        folder = out or Path(called.replace("/", "-"))
        export_svg(places, chart or (), folder, wanted)
    if not (csv or parquet or tensorboard):
        return
    alone = len(places) == 1 and isinstance(places[0], RunDir)
    same = len({run.path.parent for run in runs}) == 1
    folders = {run.path: _folder(run, out, alone=alone, same=same) for run in runs}
    tables = {run.path: load_run(run.path) for run in runs}
    for path, folder in folders.items():
        kinds = ["csv"] * csv + ["parquet"] * parquet
        taken = [one for kind in kinds for one in export_paths(tables[path], folder, kind) if one.exists()]
        taken += sorted(folder.glob("*tfevents*")) if tensorboard else []
        if taken:
            expected = "exists; nothing was written; expected a new folder"
            raise typer.BadParameter(escape_control(f"{taken[0]}: {expected}"), param_hint="--out")
    writers = [export_csv] * csv + [export_parquet] * parquet + [export_tensorboard] * tensorboard
    written = [
        one
        for path, folder in folders.items()
        if tables[path].tables
        for write in writers
        for one in write(tables[path], folder)
    ]
    if not written:
        fail(f"{in_words(names, where)}: nothing to export yet")
    for one in written:
        typer.echo(str(one))


def _folder(run: RunDir, out: Path | None, *, alone: bool, same: bool) -> Path:
    """Where a run's files go: each of several has a folder of its own, with its sweep's name where that is not the
    same of all."""
    name = run.name.replace("/", "-")
    if out is None:
        return Path(name)
    return out if alone else out / (run.path.name if same else name)
