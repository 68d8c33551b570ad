"""`presets`, `watch` and `logs`: read-only commands that do not import torch."""

from __future__ import annotations

import json
import select
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bncore.config.errors import did_you_mean, escape_control
from bncore.config.load import load_experiment, preset_names
from bncore.config.plan import plan, variant_names
from bncore.follow.estimate import duration, time_taken_before
from bncore.follow.run_view import view_runs
from bncore.plain_files import read_plain
from bntui.cli.options import Json, Names, Root, counted, default_root, refuse, say
from bntui.cli.progress import Progress
from bntui.cli.resolve import choose_profile
from bntui.cli.select_runs import Where, runs_named
from bntui.cli.tables import print_table

PRESET_COLUMNS = {
    "name": "name",
    "figure": "figure",
    "title": "what it compares",
    "variants": "variants",
    "time_s": "time taken here",
}
"""Column titles of `presets`."""
Plain = Annotated[bool, typer.Option("--plain", help="key=value lines instead of a table.")]


def presets(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[WORD...]", help="Only those that contain every word.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", metavar="A,B,...", help=f"Of {', '.join(PRESET_COLUMNS)}.")
    ] = None,
    sort: Annotated[
        str | None, typer.Option("--sort", metavar="KEY", help="Column, ascending; -KEY: descending.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Maximum number of presets.")] = None,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """List the experiments that come with the program.

    Columns that do not fit the terminal are left out, and so is the time taken here if no preset has ended yet,
    except columns named by --columns."""
    chosen = [_column(name, "--columns") for name in columns.split(",")] if columns else [*PRESET_COLUMNS]
    key = _column(sort.removeprefix("-"), "--sort") if sort else None
    matching = [row for row in _preset_rows(root or default_root()) if _has_words(row, words or ())]
    if key:
        sorted_rows = [row for row in matching if row[key] is not None]
        sorted_rows.sort(key=lambda row: len(row[key]) if key == "variants" else row[key])
        sorted_rows = sorted_rows[::-1] if sort and sort.startswith("-") else sorted_rows
        matching = sorted_rows + [row for row in matching if row[key] is None]
    rows = matching[:limit]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        say(f"no preset matches {' '.join(words or ())}")
        return
    if not columns and all(row["time_s"] is None for row in rows):
        chosen.remove("time_s")
    titles = [PRESET_COLUMNS[name] for name in chosen]
    least_first = [] if columns else [PRESET_COLUMNS[name] for name in ("time_s", "variants", "figure")]
    print_table(
        titles, [[_preset_cell(row, name) for name in chosen] for row in rows], least_first=least_first
    )
    if len(rows) < len(matching):
        say(f"{counted(len(matching) - len(rows), 'more preset')}; --limit {len(matching)} lists all")


def _preset_rows(root: Path) -> Iterator[dict[str, Any]]:
    profile = choose_profile("auto", None)
    for name in preset_names():
        experiment = load_experiment(name)
        yield {
            "name": name,
            "figure": experiment.figure,
            "title": experiment.title,
            "variants": list(variant_names(experiment)),
            "time_s": time_taken_before(root, plan(experiment, profile=profile)),
        }


def _has_words(row: dict[str, Any], words: Sequence[str]) -> bool:
    text = " ".join((row["name"], row["figure"], row["title"], *row["variants"])).casefold()
    return all(word.casefold() in text for word in words)


def _column(name: str, option: str) -> str:
    """The column's name; raises BadParameter if there is no such column."""
    if name.strip() not in PRESET_COLUMNS:
        hint = did_you_mean(name.strip(), [*PRESET_COLUMNS])
        refuse(option, f"{name!r}: expected one of {', '.join(PRESET_COLUMNS)}{hint}")
    return name.strip()


def _preset_cell(row: dict[str, Any], name: str) -> str:
    match name:
        case "figure":
            return _few_figures(row["figure"]) or "-"
        case "variants":
            return _few(row["variants"])
        case "time_s":
            return "unknown" if row["time_s"] is None else duration(row["time_s"])
    return str(row[name])


def watch(names: Names = None, plain: Plain = False, where: Where = None, root: Root = None) -> None:
    """Follow runs or sweeps until they end.

    Ctrl-C stops watching, not the runs."""
    runs = runs_named(names, root, where)
    if all(view.state == "queued" for view in view_runs(runs)):
        say(f"{counted(len(runs), 'run')} queued; none has started")
    with Progress(runs, plain=plain, stream=sys.stdout) as progress:
        while True:
            seen = progress.tick()
            if seen and not any(overview.state in ("queued", "running", "paused") for overview in seen):
                return
            _wait_unless_nobody_reads(0.2)


def _wait_unless_nobody_reads(seconds: float) -> None:
    """Wait, but notice immediately if standard output is a pipe whose reader has gone, not only on the next write.

    Raises:
        BrokenPipeError: the reader has gone.
    """
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # errors only
    if any(event & select.POLLERR for _, event in poll.poll(1000 * seconds)):
        raise BrokenPipeError


def logs(names: Names = None, where: Where = None, root: Root = None) -> None:
    """Print the logs of runs."""
    runs = runs_named(names, root, where)
    for run in runs:
        try:
            text = read_plain(run.log_file).decode(errors="replace")
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            say(f"{run.name}: {'no log yet' if missing else f'its log cannot be read: {error.strerror}'}")
            continue
        if len(runs) > 1:
            typer.echo(f"==> {run.name} <==")
        sys.stdout.write(escape_control(text, keep="\n\t"))


def _few_figures(figure: str, most: int = 4) -> str:
    """Figures for a table cell; if there are many, the first and the last."""
    parts = figure.split(", ")
    return figure if len(parts) <= most else f"{parts[0]} to {parts[-1]}"


def _few(names: list[str], most: int = 5) -> str:
    """Names for a table cell; if there are many, the first ones and the total."""
    return " ".join(names) if len(names) <= most else f"{' '.join(names[:3])} … {len(names)} in all"
