"""Reports and claims in the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import typer
from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bncore.config.errors import escape_control
from bncore.figure import Picture
from bncore.report.claims.evidence import Verdict
from bncore.report.document import Report
from bntui.cli.options import counted
from bntui.cli.tables import Output, figure, percent
from bntui.cli.terminal_chart import draw

COLORS = {
    Verdict.SUPPORTED.value: "green",
    Verdict.CONTRADICTED.value: "red",
    Verdict.INCONCLUSIVE.value: "yellow",
    Verdict.TOO_EARLY.value: "yellow",
}
PIPED_WIDTH = 120
PLOTS = 3
"""Maximum number of panels drawn per figure; the HTML page has all of them."""
NO_PRESET = "none: no run can"


def print_report(document: Report, *, drawn: bool = True) -> None:
    """Print plots of the figures, the runs, and at the end the most important part: the verdicts.

    Arguments:
        drawn: whether to print plots.
    """
    for picture in document.pictures if drawn else ():
        for text in _plots(picture):
            typer.echo(text)
    console = Output(piped_width=PIPED_WIDTH)
    console.print(_runs(document))
    if any(fit.ranks for fit in document.fits):
        console.print(_ranks(document))
    for fit in document.fits:
        console.print(_text(f"{fit.setting.title}: {fit.text}"), end="\n\n")
    console.print(_verdicts(document, console.width))
    names = " ".join(dict.fromkeys(run.run.sweep.name for run in document.runs))
    console.print(_text(f"`bnrun claims {names}` lists missing evidence; --html FILE shows all of it."))


def print_claims(rows: Sequence[dict[str, Any]], *, with_runs: bool) -> None:
    """Print the rows of `bnrun claims`."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    middle = ("verdict", "missing") if with_runs else ("presets that test it",)
    for name in ("", "claim", *middle, "command"):
        table.add_column(name, overflow="fold")
    for row in rows:
        cells: list[str | Text] = [_text(row["claim"]), _text(row["text"])]
        if with_runs:
            cells += [_verdict(row["verdict"]), _text("; ".join(row["missing"]) or "-")]
        else:
            cells.append(_text(_presets(row)))
        table.add_row(*cells, _text(row["command"] or "-"))
    Output(piped_width=PIPED_WIDTH).print(table)


def _presets(row: dict[str, Any]) -> str:
    plain = " ".join(row["presets"])
    others = row["presets_with_options"]
    options = sorted(set(others.values()))
    more = [f"with {option}: {counted(len(others), 'other')}" for option in options[:1]]
    return "; ".join([plain, *more]).strip("; ") or NO_PRESET


def _verdicts(document: Report, width: int) -> Table:
    """A row for each claim, with its full reason."""
    table = Table(title="What these runs say", box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    table.add_column("", no_wrap=True)
    table.add_column("claim", max_width=width // 4)
    table.add_column("verdict", no_wrap=True)
    table.add_column("why", overflow="fold")
    for judged in document.judged:
        claim = judged.claim.short or judged.claim.text
        table.add_row(judged.claim.key, _text(claim), _verdict(judged.verdict.value), _text(judged.why))
    return table


def _ranks(document: Report) -> Table:
    """A row for each curve of the paper that has a rank."""
    title = "Where the paper's run lies among these seeds"
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    for name in ("figure", "variant", "panel", "the paper's curve is"):
        table.add_column(name, overflow="fold")
    for rank in (rank for fit in document.fits for rank in fit.ranks):
        style = "yellow" if rank.outside else ""
        cells = (_text(rank.figure), _text(rank.variant), _text(rank.panel))
        table.add_row(*cells, Text(escape_control(rank.words), style=style))
    return table


def _runs(document: Report) -> Table:
    table = Table(title="Runs", box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    for name in ("run", "state", "step", "loss", "test accuracy", "evidence"):
        table.add_column(name, overflow="fold", justify="right" if name in ("step", "loss") else "left")
    for run in document.runs:
        table.add_row(
            _text(run.name),
            _text(run.view.state),
            f"{run.view.step:,}",
            figure(run.view.newest("step", "loss")),
            percent(run.view.newest("eval", "test_accuracy")),
            _text("yes" if run.counts else f"no: {run.excluded_because}"),
        )
    return table


def _plots(picture: Picture) -> Iterator[str]:
    """Plots of the variants, without single seeds and without the paper's curves."""
    drawable = [panel for panel in picture.panels if panel.x_name == "step" and panel.curves]
    for panel in drawable[:PLOTS]:
        drawn = draw(replace(panel, title=f"{picture.title}: {panel.title}"))
        if drawn:
            yield drawn


def _verdict(value: str) -> Text:
    return Text(value, style=COLORS[value])


def _text(content: str) -> str:
    return escape(escape_control(content))
