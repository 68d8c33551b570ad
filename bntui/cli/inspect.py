"""`presets`, `ls`, `watch`, `logs`: looking, without touching and without torch."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bncore.config.errors import escape_control
from bncore.config.load import load_experiment, preset_names
from bncore.config.plan import plan, variant_names
from bncore.follow.estimate import duration, time_taken_before
from bncore.follow.run_view import view_runs
from bncore.plain_files import read_plain
from bncore.store.errors import NoSuchRun
from bncore.store.find import find_all, list_sweeps
from bncore.store.paths import RunDir, SweepDir
from bntui.cli.format import percent, steps_made
from bntui.cli.options import Json, Names, Root, complete_run, default_root, say
from bntui.cli.progress import Progress
from bntui.cli.resolve import choose_profile
from bntui.cli.tables import print_table

Plain = Annotated[bool, typer.Option("--plain", help="key=value lines instead of a table.")]


def presets(as_json: Json = False, root: Root = None) -> None:
    """List the experiments that come with the program."""
    rows: list[dict[str, Any]] = []
    profile = choose_profile("auto", None)
    for name in preset_names():
        experiment = load_experiment(name)
        rows.append(
            {
                "name": name,
                "figure": experiment.figure,
                "title": experiment.title,
                "variants": list(variant_names(experiment)),
                "time_s": time_taken_before(root or default_root(), plan(experiment, profile=profile)),
            }
        )
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    print_table(
        ("name", "figure", "what it compares", "variants", "time taken here"),
        [
            (
                row["name"],
                _few_figures(row["figure"]) or "-",
                row["title"],
                _few(row["variants"]),
                "unknown" if row["time_s"] is None else duration(row["time_s"]),
            )
            for row in rows
        ],
    )


def ls(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN_OR_SWEEP...]",
            help="Only these runs or sweeps, or patterns such as 'exp0*' (quoted).",
            autocompletion=complete_run,
        ),
    ] = None,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """List sweeps and their runs."""
    where = root or default_root()
    found = find_all(where, names) if names else list_sweeps(where)
    seen = [overview for one in found for overview in view_runs(runs_of(one))]
    if as_json:
        typer.echo(json.dumps([overview.as_json() for overview in seen], indent=2))
        return
    if not seen:
        say(f"no runs under {where}")
        return
    rows = []
    for overview in seen:
        accuracy = percent(overview.newest("eval", "test_accuracy"))
        rows.append((overview.run.name, overview.state, steps_made(overview), accuracy))
    print_table(("run", "state", "step", "test accuracy"), rows)
    for overview in seen:
        if overview.problem:
            say(f"{overview.run.name}: {overview.problem}")
        elif overview.state == "dead" and overview.message:
            say(f"{overview.run.name}: dead: {overview.message}")
        if overview.warning:
            say(f"{overview.run.name}: {overview.warning}")


def watch(names: Names, plain: Plain = False, root: Root = None) -> None:
    """Follow runs or sweeps until they end.

    Ctrl-C stops watching, not the runs."""
    with Progress(runs_named(names, root), plain=plain) as progress:
        while True:
            seen = progress.tick()
            if seen and not any(overview.state in ("queued", "running", "paused") for overview in seen):
                return
            time.sleep(0.2)


def logs(names: Names, root: Root = None) -> None:
    """Print the logs of runs."""
    runs = runs_named(names, root)
    for run in runs:
        try:
            text = read_plain(run.log_file).decode(errors="replace")
        except OSError:
            say(f"{run.name}: no log yet")
            continue
        if len(runs) > 1:
            typer.echo(f"==> {run.name} <==")
        sys.stdout.write(escape_control(text, keep="\n\t"))


def runs_named(names: Sequence[str], root: Path | None) -> list[RunDir]:
    """The runs that several names and patterns mean, those of sweeps among them.

    Raises:
        NoSuchRun: one of them means nothing, or a sweep has no runs.
    """
    return [run for found in find_all(root or default_root(), names) for run in runs_of(found)]


def runs_of(found: RunDir | SweepDir) -> list[RunDir]:
    """The run itself, or the sweep's runs.

    Raises:
        NoSuchRun: a sweep without any.
    """
    runs = [found] if isinstance(found, RunDir) else found.runs()
    if not runs:
        raise NoSuchRun(f"{found.path}: a sweep without runs")
    return runs


def _few_figures(figure: str, most: int = 4) -> str:
    """Figures for a table's cell; of many the first and the last."""
    parts = figure.split(", ")
    return figure if len(parts) <= most else f"{parts[0]} to {parts[-1]}"


def _few(names: list[str], most: int = 5) -> str:
    """Names for a table's cell; of many the first ones, and how many there are."""
    return " ".join(names) if len(names) <= most else f"{' '.join(names[:3])} … {len(names)} in all"
