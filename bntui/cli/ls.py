"""`ls`: a table of runs, with selection, sorting and a limit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from bncore.follow.estimate import duration
from bncore.follow.run_fields import RunField, Value, is_read, no_such_field, run_field, run_fields
from bncore.follow.run_view import RunView, view_runs
from bncore.store.find import find_all, list_places
from bncore.store.journal import in_json
from bntui.cli.options import Json, Root, complete_run, counted, default_root, refuse, say
from bntui.cli.select_runs import Where, nothing_matches, parse_where, runs_of
from bntui.cli.tables import figure, percent, print_table
from bntui.live.usage_table import steps_made

COLUMNS = ("run", "state", "step", "loss", "test_accuracy", "lr", "norm", "age", "duration")
LEAST_FIRST = ("duration", "age", "norm", "lr", "loss", "step", "test_accuracy", "state")
"""Columns in the order in which they are dropped if the terminal is too narrow."""


def complete_field(incomplete: str) -> list[str]:
    """Field names, also after a comma or a minus."""
    start = max(map(incomplete.rfind, ",-")) + 1
    return [incomplete[:start] + name for name in run_fields() if name.startswith(incomplete[start:])]


def ls(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN_OR_SWEEP...]",
            help="Only these runs or sweeps, or patterns such as 'exp0*' (quoted).",
            autocompletion=complete_run,
        ),
    ] = None,
    where: Where = None,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns", metavar="A,B,...", help="Fields or measures.", autocompletion=complete_field
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            "--sort", metavar="KEY", help="Ascending; -KEY: descending.", autocompletion=complete_field
        ),
    ] = None,
    newest: Annotated[bool, typer.Option("--newest", help="Newest first.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Maximum number of runs.")] = None,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """List sweeps and their runs.

    Columns that do not fit the terminal are left out, except those named by --columns."""
    query, under = parse_where(where), root or default_root()
    fields = [field_named(name, "--columns") for name in (columns.split(",") if columns else COLUMNS)]
    key = sort_field(sort)
    places = find_all(under, names) if names else list_places(under)
    places = [one for one in places if names or one.runs()]
    chosen = [*(fields if columns else ()), *([key] if key else ())]
    measured = query.measured | {field.name for field in chosen if field.kind == "measure"}

    def enough(view: RunView) -> bool:
        return all(is_read(view, name) for name in measured)

    listed = [view for place in places for view in view_runs(runs_of(place), settings=True, enough=enough)]
    views = [view for view in listed if query.matches(view)]
    views = views[::-1] if newest else views
    views = ordered(views, sort)
    shown = views[:limit]
    if as_json:
        typer.echo(json.dumps([_as_json(view, fields) for view in shown], indent=2))
    elif not shown:
        say(nothing_matches(under, names, query, listed) if where and listed else f"no runs under {under}")
    else:
        titles = [_TITLES.get(field.name, field.name) for field in fields]
        rows = [[_cell(field, view) for field in fields] for view in shown]
        least = [_TITLES.get(name, name) for name in LEAST_FIRST] if not columns else []
        print_table(titles, rows, least_first=least)
        _print_notes(shown, len(views))


def sort_field(sort: str | None) -> RunField | None:
    """The field named by `--sort`; None without it.

    Raises:
        BadParameter: there is no such field.
    """
    return field_named(sort.removeprefix("-"), "--sort") if sort else None


def ordered(views: list[RunView], sort: str | None) -> list[RunView]:
    """Runs sorted by the field of `--sort`, numbers before words; runs without a value come last."""
    field = sort_field(sort)
    if field is None or sort is None:
        return views
    keyed = [(value, view) for view in views if _is_some(value := field.of(view))]
    without = [view for view in views if not _is_some(field.of(view))]
    keyed.sort(key=lambda one: (isinstance(one[0], str), one[0]), reverse=sort.startswith("-"))
    return [view for _, view in keyed] + without


def _is_some(value: Value) -> bool:
    return value is not None and value == value  # noqa: PLR0124 - NaN has no place in an order


def field_named(name: str, option: str) -> RunField:
    """The field named by an option.

    Raises:
        BadParameter: there is no such field.
    """
    field = run_field(name.strip().lower())
    if field is None:
        refuse(option, f"{name!r}: {no_such_field(name.strip().lower())}")
    return field


_TITLES = {"test_accuracy": "test accuracy"}


def _cell(field: RunField, view: RunView) -> str:
    value = field.of(view)
    if field.name == "step":
        return steps_made(view)
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "-"
    if value is None or isinstance(value, str):
        return value or "-"
    if field.unit == "s":
        return duration(value)
    if field.unit == "fraction":
        return percent(value)
    return f"{value:,}" if isinstance(value, int) else figure(value)


def _as_json(view: RunView, fields: Sequence[RunField]) -> dict[str, Any]:
    return {field.name: in_json(field.of(view)) for field in fields} | view.as_json()


def _print_notes(shown: Sequence[RunView], count: int) -> None:
    """Report what the table does not show: the number of runs beyond the limit, and problems of those in it."""
    if len(shown) < count:
        say(f"{counted(count - len(shown), 'more run')}; --limit {count} lists all")
    for view in shown:
        if view.problem:
            say(f"{view.run.name}: {view.problem}")
        elif view.state == "dead" and view.message:
            say(f"{view.run.name}: dead: {view.message}")
        if view.warning:
            say(f"{view.run.name}: {view.warning}")
