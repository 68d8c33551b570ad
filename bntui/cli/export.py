"""`export`: tables and charts as files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bncore import load_run
from bncore.config.errors import escape_control
from bncore.store.export import export_csv, export_parquet, export_paths
from bncore.store.find import find
from bncore.store.paths import RunDir
from bncore.store.tensorboard import export_tensorboard
from bntui.cli.grouped import BandOption, By, Grouped, Single
from bntui.cli.inspect import runs_of
from bntui.cli.options import Root, Run, default_root, fail


def export(
    name: Run,
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
    band: BandOption = "interval",
    root: Root = None,
) -> None:
    """Write a run's tables or charts as files.

    Prints their paths; existing files are never overwritten."""
    if chart and not svg:
        raise typer.BadParameter("given without --svg; expected both", param_hint="--chart")
    if not (csv or parquet or tensorboard or svg):
        expected = "missing; expected --csv, --parquet, --tensorboard or --svg"
        raise typer.BadParameter(expected, param_hint="--csv")
    if svg:
        from bntui.cli.charts import check_charts, export_svg  # noqa: PLC0415 - matplotlib

        check_charts(chart or ())
    if out is not None and not out.name:
        raise typer.BadParameter(f"{str(out)!r}; expected a folder of its own", param_hint="--out")
    found = find(root or default_root(), name)
    runs = runs_of(found)
    if svg:
        export_svg(found, chart or (), out or Path(found.name.replace("/", "-")), Grouped(single, by, band))
    if not (csv or parquet or tensorboard):
        return
    folders = {run.path: _folder(run, out, alone=isinstance(found, RunDir)) for run in runs}
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
        fail(f"{found.name}: nothing to export yet")
    for one in written:
        typer.echo(str(one))


def _folder(run: RunDir, out: Path | None, *, alone: bool) -> Path:
    """Where a run's files go: of a sweep each run has a folder of its own."""
    if out is None:
        return Path(run.name.replace("/", "-"))
    return out if alone else out / run.path.name
