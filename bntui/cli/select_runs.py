"""Selection of runs by names, patterns and a query on the command line, for all commands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.cells import cell_len

from bncore.config.errors import escape_control
from bncore.follow.query import Query, QueryError, complete, no_such_value, parse
from bncore.follow.run_view import RunView, view_runs
from bncore.store.errors import NoSuchRun
from bncore.store.find import find_all, list_places
from bncore.store.paths import RunDir, SweepDir
from bntui.cli.exit_codes import ExitCode
from bntui.cli.options import counted, default_root, fail, refuse, say


def complete_query(ctx: typer.Context, incomplete: str) -> list[str]:
    """Field names, or values that the field being typed has in the runs under the root."""
    names = complete(incomplete)
    if names or not re.search(r"[=:]", incomplete):
        return names
    places = list_places(ctx.params.get("root") or default_root())
    return complete(incomplete, view_runs(run for place in places for run in place.runs()))


Where = Annotated[
    str | None,
    typer.Option(
        "--where",
        "-w",
        metavar="QUERY",
        help="Only runs that match, such as 'norm=batch lr>0.05 state:running' (docs/reference/queries.md).",
        autocompletion=complete_query,
    ),
]


def parse_where(where: str | None) -> Query:
    """Parse the query; without one, return the query that every run matches.

    Raises:
        Exit: the query is invalid; reported on standard error with a marker under the word at fault.
    """
    try:
        return parse(where or "")
    except QueryError as error:
        fail(f"--where: {error}\n{marked(error)}", ExitCode.USAGE)


def marked(error: QueryError) -> str:
    """The query, with a marker under the word at fault."""
    before, word = (
        cell_len(escape_control(part))
        for part in (error.text[: error.start], error.text[error.start : error.end])
    )
    return f"  {escape_control(error.text)}\n  {' ' * before}{'^' * max(1, word)}"


def places_named(
    names: Sequence[str] | None, root: Path | None, where: str | None = None, *, announce: bool = False
) -> list[RunDir | SweepDir]:
    """Runs and sweeps selected by names, patterns and a query; without names, those under the root. A sweep of
    which only some runs match is replaced by these runs.

    Arguments:
        announce: report which runs match, before anything is done to them.

    Raises:
        BadParameter: there are neither names nor a query.
        Exit: the query is invalid or nothing matches; reported on standard error.
        NoSuchRun: a name matches nothing.
    """
    query, under = parse_where(where), root or default_root()
    if not names and where is None:
        refuse("RUN...", "missing; expected names of runs or sweeps, or --where")
    if announce and where is not None and not where.strip():
        refuse("--where", "empty; expected a query")
    places: list[RunDir | SweepDir] = find_all(under, names) if names else list_places(under)
    if where is None:
        return places
    matching_places: list[RunDir | SweepDir] = []
    seen: list[RunView] = []
    matching: list[RunView] = []
    for place in places:
        runs = place.runs()
        among = view_runs(runs, settings=query.settings, enough=query.enough)
        views = [view for view in among if query.matches(view)]
        seen += among
        matching += views
        matching_places += [place] if views and len(views) == len(runs) else [view.run for view in views]
    if not matching_places:
        fail(nothing_matches(under, names, query, seen), ExitCode.USAGE)
    if announce:
        say(
            f"{counted(len(matching), 'run')} matching {where}: {', '.join(view.run.name for view in matching)}"
        )
    return matching_places


def nothing_matches(
    root: Path, names: Sequence[str] | None, query: Query, views: Sequence[RunView] = ()
) -> str:
    """Message if none of `views` matches, with a marker under a value that may be misspelled."""
    among = f"of {', '.join(names)}" if names else f"under {root}"
    misspelt = no_such_value(query, views)
    hint = f"\n{misspelt}:\n{marked(misspelt)}" if misspelt else ""
    return f"no run {among} matches {query.text}{hint}"


def runs_named(
    names: Sequence[str] | None, root: Path | None, where: str | None = None, *, announce: bool = False
) -> list[RunDir]:
    """As `places_named`, with sweeps replaced by their runs.

    Raises:
        NoSuchRun: a name matches nothing, or a sweep has no runs.
    """
    return [run for place in places_named(names, root, where, announce=announce) for run in runs_of(place)]


def runs_of(place: RunDir | SweepDir) -> list[RunDir]:
    """The run itself, or the sweep's runs.

    Raises:
        NoSuchRun: the sweep has no runs.
    """
    runs = place.runs()
    if not runs:
        raise NoSuchRun(f"{place.path}: a sweep without runs")
    return runs


def in_words(names: Sequence[str] | None, where: str | None) -> str:
    """The selection as written on the command line."""
    return ", ".join([*(names or ()), *([where] if where is not None else [])])
