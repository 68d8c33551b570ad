"""`presets`, `watch`, `logs`: looking, without touching and without torch."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated, Any

import typer

from bncore.config.errors import escape_control
from bncore.config.load import load_experiment, preset_names
from bncore.config.plan import plan, variant_names
from bncore.follow.estimate import duration, time_taken_before
from bncore.plain_files import read_plain
from bntui.cli.options import Json, Names, Root, default_root, say
from bntui.cli.progress import Progress
from bntui.cli.resolve import choose_profile
from bntui.cli.select_runs import Where, runs_named
from bntui.cli.tables import print_table

Plain = Annotated[bool, typer.Option("--plain", help="key=value lines instead of a table.")]


def presets(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[WORD...]", help="Only those that contain every word.")
    ] = None,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """List the experiments that come with the program."""
    rows: list[dict[str, Any]] = []
    profile = choose_profile("auto", None)
    for name in preset_names():
        experiment = load_experiment(name)
        text = " ".join((name, experiment.figure, experiment.title, *variant_names(experiment))).casefold()
        if not all(word.casefold() in text for word in words or ()):
            continue
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
    if not rows:
        say(f"no preset matches {' '.join(words or ())}")
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
        least_first=("time taken here", "variants", "figure"),
    )


def watch(names: Names = None, plain: Plain = False, where: Where = None, root: Root = None) -> None:
    """Follow runs or sweeps until they end.

    Ctrl-C stops watching, not the runs."""
    with Progress(runs_named(names, root, where), plain=plain, stream=sys.stdout) as progress:
        while True:
            seen = progress.tick()
            if seen and not any(overview.state in ("queued", "running", "paused") for overview in seen):
                return
            time.sleep(0.2)


def logs(names: Names = None, where: Where = None, root: Root = None) -> None:
    """Print the logs of runs."""
    runs = runs_named(names, root, where)
    for run in runs:
        try:
            text = read_plain(run.log_file).decode(errors="replace")
        except OSError:
            say(f"{run.name}: no log yet")
            continue
        if len(runs) > 1:
            typer.echo(f"==> {run.name} <==")
        sys.stdout.write(escape_control(text, keep="\n\t"))


def _few_figures(figure: str, most: int = 4) -> str:
    """Figures for a table's cell; of many the first and the last."""
    parts = figure.split(", ")
    return figure if len(parts) <= most else f"{parts[0]} to {parts[-1]}"


def _few(names: list[str], most: int = 5) -> str:
    """Names for a table's cell; of many the first ones, and how many there are."""
    return " ".join(names) if len(names) <= most else f"{' '.join(names[:3])} … {len(names)} in all"
