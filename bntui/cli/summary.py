"""What a sweep came to, as a table on standard output."""

from __future__ import annotations

import json

import typer
from rich.markup import escape
from rich.table import Table

from bncore.config.errors import escape_control
from bncore.follow.estimate import duration
from bncore.follow.run_view import RunView, view_runs
from bncore.store.paths import SweepDir
from bntui.cli.format import figure, percent
from bntui.cli.tables import Output


def print_summary(sweep: SweepDir, *, as_json: bool) -> None:
    """One row per run: state, steps, losses, accuracies, time."""
    seen = view_runs(sweep.runs())
    if as_json:
        content = {"sweep": str(sweep.path), "runs": [overview.as_json() for overview in seen]}
        typer.echo(json.dumps(content, indent=2))
        return
    console = Output(piped_width=100)
    console.print(_table(sweep, seen))
    console.print(f"`bnrun show {escape_control(sweep.name)}` plots them.", markup=False)


def _table(sweep: SweepDir, seen: list[RunView]) -> Table:
    titles = {str(o.columns.start.get("data", "")) for o in seen} - {""}
    table = Table(
        title=escape(escape_control(f"{sweep.name} on {', '.join(sorted(titles)) or 'no data yet'}"))
    )
    for name in ("run", "state", "step", "loss", "test loss", "test accuracy", "time"):
        table.add_column(name, justify="left" if name in ("run", "state") else "right")
    for overview in seen:
        table.add_row(
            escape(escape_control(overview.run.path.name)),
            overview.state,
            f"{overview.step:,}",
            figure(overview.newest("step", "loss")),
            figure(overview.newest("eval", "test_loss")),
            percent(overview.newest("eval", "test_accuracy")),
            duration(time_taken(overview)),
        )
        if overview.state == "failed":
            table.add_row("", escape(overview.message))
        if overview.warning:
            table.add_row("", overview.warning)
    return table


def time_taken(overview: RunView) -> float | None:
    """Seconds from the first event to the last; None where the run has not ended."""
    start, end = overview.times()
    return None if start is None or end is None else end - start
