"""`top`: state and resource usage of live runs, without importing torch."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.text import Text

from bncore.follow.run_view import RunView
from bncore.store.journal import in_json
from bncore.store.status import LIVE
from bntui.cli.ls import complete_field, ordered, sort_field
from bntui.cli.options import Json, Root, default_root, say
from bntui.cli.select_runs import Where, nothing_matches, parse_where
from bntui.cli.tables import Output, drawn
from bntui.live.sources import Root as RunsUnder
from bntui.live.usage_table import LEAST_FIRST, machine_table

BUDGET_S = 1.0
"""Seconds spent reading values that heartbeats do not contain."""


def top(
    where: Where = None,
    sort: Annotated[
        str | None,
        typer.Option(
            "--sort",
            metavar="KEY",
            help="Field such as cpu or rate, ascending; -KEY: descending.",
            autocompletion=complete_field,
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print the table once.")] = False,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Show live runs and the resources they use.

    CPU counts processors: 200 % means two. GPU figures are of the whole GPU and need nvidia-ml-py. Columns
    that do not fit the terminal are left out. Ctrl-C ends it."""
    query, under = parse_where(where), root or default_root()
    sort_field(sort)
    source, budget_s = RunsUnder(under), BUDGET_S if query.text or sort else 0.0
    source.poll(0.0)

    def sample() -> list[RunView]:
        runs = source.poll(budget_s).runs
        return ordered([view for view in runs if view.state in LIVE and query.matches(view)], sort)

    if as_json:
        typer.echo(json.dumps([_as_json(view) for view in sample()], indent=2))
    elif once or not sys.stdout.isatty():
        views = sample()
        if views:
            console = Output(piped_width=10_000)
            console.print(drawn(console.width, *machine_table(views), least_first=LEAST_FIRST))
        else:
            say(nothing_matches(under, (), query) if where else f"no live runs under {under}")
    else:
        _follow(sample, source)


def _follow(sample: Callable[[], list[RunView]], source: RunsUnder) -> None:
    """Redraw the table of the runs that `sample` returns until Ctrl-C, as often as `source` can be read."""
    console = Output(piped_width=10_000)
    with Live(console=console, auto_refresh=False, screen=True) as live:
        while True:
            views = sample()
            titles, rows = machine_table(views)
            shown = rows[: max(1, console.height - 5)]
            table = drawn(console.width, titles, shown, least_first=LEAST_FIRST)
            hidden = len(rows) - len(shown)
            table.caption = Text(f"{hidden} more below" if hidden else "" if rows else "no live runs")
            live.update(table, refresh=True)
            time.sleep(source.interval_s)


def _as_json(view: RunView) -> dict[str, Any]:
    return {
        "run": view.run.name,
        "path": str(view.run.path),
        "state": view.state,
        "step": view.step,
        "steps": view.steps or None,
        "rate": in_json(view.rate),
        "eta_s": in_json(view.eta_s),
        "machine": in_json(view.machine),
    }
