"""`export`: writes tables and charts as files for other programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bncore.follow.groups import group_tables
from bncore.store.export_tables import Tables, export_csv, export_parquet, export_paths
from bncore.store.loaded import load_run
from bncore.store.paths import RunDir, SweepDir
from bncore.store.tensorboard import export_tensorboard
from bntui.cli.drawn import CHART_HELP, check_charts
from bntui.cli.grouped import Grouped, check_grouped, chosen_grouping, with_drawing
from bntui.cli.options import Names, Root, fail, refuse, refuse_existing
from bntui.cli.select_runs import Where, in_words, places_named, runs_of
from bntui.live.sources import read_whole

if TYPE_CHECKING:
    from bncore.report.render import Kind

WRITERS: dict[str, Callable[[Tables, Path], list[Path]]] = {"csv": export_csv, "parquet": export_parquet}


@with_drawing
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
    png: Annotated[bool, typer.Option("--png", help="The same as PNG.")] = False,
    chart: Annotated[
        list[str] | None,
        typer.Option("--chart", help=f"{CHART_HELP}  [default: those that bntui shows]"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Output directory.  [default: <sweep>-<run>; export for several together]"
        ),
    ] = None,
    *,
    wanted: Grouped,
    where: Where = None,
    root: Root = None,
) -> None:
    """Write a run's tables or charts as files.

    With --by or --band, tables are of groups of runs. Prints paths; existing files are never overwritten."""
    wished: dict[Kind, bool] = {"svg": svg, "png": png}
    charts = [kind for kind, is_wished in wished.items() if is_wished]
    kinds = ["csv"] * csv + ["parquet"] * parquet
    if chart and not charts:
        refuse("--chart", "given without --svg or --png; expected both")
    if not (charts or kinds or tensorboard):
        refuse("--csv", "missing; expected --csv, --parquet, --tensorboard, --svg or --png")
    check_grouped(wanted, without="" if charts or kinds else "with --tensorboard alone")
    for option, value in wanted.drawing.items():
        if value and not charts:
            refuse(option, "given without --svg or --png; expected both")
    if charts:
        from bntui.cli.charts import export_charts  # noqa: PLC0415 - matplotlib

        check_charts(chart or (), wanted)
    if out is not None and (not out.name or out.suffix in (".csv", ".png", ".svg")):
        refuse("--out", f"{str(out)!r}; expected a folder of its own")
    places = places_named(names, root, where)
    called = places[0].name if len(places) == 1 else "export"
    together = out or Path(called.replace("/", "-"))
    if charts:
        export_charts(places, charts, chart or (), together, wanted)
    grouped = kinds if wanted.is_grouped else []
    single_tables = [] if wanted.is_grouped else kinds
    written = _of_groups(places, grouped, together, wanted) if grouped else []
    if single_tables or tensorboard:
        written += _of_runs(places, single_tables, out, tensorboard=tensorboard)
    if not written and (kinds or tensorboard):
        fail(f"{in_words(names, where)}: nothing to export yet")
    for one in written:
        typer.echo(str(one))


def _of_groups(
    places: Sequence[RunDir | SweepDir], kinds: Sequence[str], folder: Path, wanted: Grouped
) -> list[Path]:
    """Write means and bands of groups of runs, one file per table and kind."""
    snapshot = read_whole(*places)
    grouping = chosen_grouping(snapshot, wanted)
    tables = group_tables(grouping.groups(snapshot.runs), grouping.band)
    refuse_existing(path for kind in kinds for path in export_paths(tables, folder, kind))
    return [path for kind in kinds for path in WRITERS[kind](tables, folder)]


def _of_runs(
    places: Sequence[RunDir | SweepDir], kinds: Sequence[str], out: Path | None, *, tensorboard: bool
) -> list[Path]:
    """Write the tables of each run to its own folder."""
    runs = [run for place in places for run in runs_of(place)]
    alone = len(places) == 1 and isinstance(places[0], RunDir)
    same = len({run.path.parent for run in runs}) == 1
    loaded = [(_folder(run, out, alone=alone, same=same), load_run(run.path)) for run in runs]
    for folder, one in loaded:
        refuse_existing(path for kind in kinds for path in export_paths(one.tables, folder, kind))
        refuse_existing(sorted(folder.glob("*tfevents*")) if tensorboard else ())
    written = []
    for folder, one in loaded:
        if one.tables:
            written += [path for kind in kinds for path in WRITERS[kind](one.flat_tables(), folder)]
            written += export_tensorboard(one, folder) if tensorboard else []
    return written


def _folder(run: RunDir, out: Path | None, *, alone: bool, same: bool) -> Path:
    """Folder for a run's files. Each of several runs has its own, named with its sweep unless all share it."""
    name = run.name.replace("/", "-")
    if out is None:
        return Path(name)
    return out if alone else out / (run.path.name if same else name)
