"""`rm`, `verify`, `export`: keeping a library of runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bntui.cli.agreement import original_of, tell_agreement
from bntui.cli.charts import check_charts, export_svg
from bntui.cli.exit_codes import ExitCode
from bntui.cli.inspect import runs_named, runs_of
from bntui.cli.options import Names, Root, Run, counted, default_root, escape_control
from bntui.cli.slurm import waiting_tasks

if TYPE_CHECKING:
    from bncore.store.paths import RunDir, SweepDir


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("rm")(rm)
    app.command("verify")(verify)
    app.command("export")(export)


def rm(
    names: Names,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    root: Root = None,
) -> None:
    """Remove runs or sweeps; removes none while one of them lives."""
    from bncore.store.find import find_all

    found = find_all(root or default_root(), names)
    live = [name for one in found for name in _alive(one)]
    if live:
        typer.echo(escape_control(f"bnrun: {', '.join(live)}: alive; `bnrun stop` it first"), err=True)
        raise typer.Exit(ExitCode.USAGE)
    if not yes and not typer.confirm(_question(found), err=True):
        raise typer.Exit(ExitCode.FAILED)
    for one in found:
        try:
            shutil.rmtree(one.path)
        except OSError as error:
            typer.echo(
                escape_control(f"bnrun: {one.path}: cannot be removed: {error.strerror or error}"), err=True
            )
            raise typer.Exit(ExitCode.FAILED) from None


def _question(found: list[RunDir | SweepDir]) -> str:
    from bncore.store.paths import RunDir

    counts = [1 if isinstance(one, RunDir) else len(one.runs()) for one in found]
    listed = [f"{one.path} ({counted(count, 'run')})" for one, count in zip(found, counts, strict=True)]
    return escape_control(f"Remove {', '.join(listed)}?")


def _alive(found: RunDir | SweepDir) -> list[str]:
    """Names of what is under way or waits for its turn there."""
    from bncore.follow.run_view import look_at
    from bncore.store.paths import RunDir
    from bncore.store.status import Observer

    seen = look_at([found] if isinstance(found, RunDir) else found.runs())
    sweep = found.sweep if isinstance(found, RunDir) else found
    alive = ("running", "paused", "queued") if Observer().supervised(sweep) else ("running", "paused")
    live = [o.run.name for o in seen if o.state in alive]
    live += [run.name for run in waiting_tasks(seen)]
    if not live and found is sweep and Observer().supervised(sweep):
        live = [f"{sweep.name}: its supervisor"]
    return live


def verify(names: Names, root: Root = None) -> None:
    """Check run directories: journal well-formed and complete, checkpoints loadable, digest right; a replay is
    compared with the run that it repeats."""
    from bncore.store.verify import verify as check
    from bncore.train.inspection import step_and_digest

    wrong = False
    for run in runs_named(names, root):
        problems = check(run, step_and_digest)
        typer.echo(f"{run.name}: {'sound' if not problems else counted(len(problems), 'problem')}")
        for problem in problems:
            typer.echo(escape_control(f"  {problem}"))
        wrong = wrong or bool(problems)
        original = original_of(run)
        if original is not None and not tell_agreement(original, run):
            wrong = True
    raise typer.Exit(ExitCode.FAILED if wrong else ExitCode.OK)


def export(
    name: Run,
    csv: Annotated[bool, typer.Option("--csv", help="One CSV file a table.")] = False,
    parquet: Annotated[
        bool, typer.Option("--parquet", help="One Parquet file a table (needs pyarrow).")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="An event file for TensorBoard (needs tensorboard).")
    ] = False,
    svg: Annotated[
        bool, typer.Option("--svg", help="One SVG file a chart, all runs of a sweep in it.")
    ] = False,
    chart: Annotated[
        list[str] | None,
        typer.Option("--chart", help="With --svg: which; repeatable.  [default: what bntui shows first]"),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder.  [default: ./<sweep>-<run>]")] = None,
    root: Root = None,
) -> None:
    """Write a run's tables, or its charts, as files for other programs; prints their paths."""
    from bncore import load_run
    from bncore.store.export import export_csv, export_parquet, export_paths
    from bncore.store.find import find
    from bncore.store.paths import RunDir
    from bncore.store.tensorboard import export_tensorboard

    if chart and not svg:
        raise typer.BadParameter("only --svg draws charts", param_hint="--chart")
    if not (csv or parquet or tensorboard or svg):
        expected = "missing; expected --csv, --parquet, --tensorboard or --svg"
        raise typer.BadParameter(expected, param_hint="--csv")
    check_charts(chart or ())
    if out is not None and not out.name:
        raise typer.BadParameter(f"{str(out)!r}; expected a folder of its own", param_hint="--out")
    found = find(root or default_root(), name)
    runs = runs_of(found)
    if svg:
        export_svg(found, chart or (), out or Path(found.name.replace("/", "-")))
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
        typer.echo(escape_control(f"bnrun: {found.name}: nothing is journaled yet"), err=True)
        raise typer.Exit(ExitCode.FAILED)
    for one in written:
        typer.echo(str(one))


def _folder(run: RunDir, out: Path | None, *, alone: bool) -> Path:
    """Where a run's files go: of a sweep each run has a folder of its own."""
    if out is None:
        return Path(run.name.replace("/", "-"))
    return out if alone else out / run.path.name
