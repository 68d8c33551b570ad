"""`report` and `claims`: results of runs compared with the paper."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bncore.report.claims.evidence import Claim
from bncore.report.claims.judging import CLAIMS
from bncore.report.comparison_group import Presentation
from bncore.report.document import Report, report_of
from bncore.report.document import as_json as to_json
from bncore.report.missing import presets_for
from bncore.report.report_run import ReportRun, gather
from bncore.store.files import write_out
from bntui.cli.grouped import Grouped, check_grouped, chosen_grouping, with_groups
from bntui.cli.options import Json, Root, complete_run
from bntui.cli.select_runs import Where, places_named
from bntui.cli.verdicts import print_claims, print_report
from bntui.live.snapshot import Snapshot
from bntui.live.sources import as_submitted

if TYPE_CHECKING:
    from bncore.report.render import Kind


Runs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RUN_OR_SWEEP...]",
        help="Paths, names, unique prefixes, @last, or patterns such as 'exp0*' (quoted); runs of several sweeps "
        "are judged together.",
        autocompletion=complete_run,
    ),
]
SomeRuns = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RUN_OR_SWEEP...]",
        help="Judge these runs and list missing evidence.",
        autocompletion=complete_run,
    ),
]


@with_groups
def report(
    names: Runs = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write one self-contained HTML page.")] = None,
    png: Annotated[
        Path | None, typer.Option("--png", help="Write each figure as PNG into this folder.")
    ] = None,
    svg: Annotated[
        Path | None, typer.Option("--svg", help="Write each figure as SVG into this folder.")
    ] = None,
    *,
    wanted: Grouped,
    as_json: Json = False,
    where: Where = None,
    root: Root = None,
) -> None:
    """Plot the paper's figures and judge its claims from runs.

    The paper's own curves are drawn beside them. With files, only tables are printed."""
    check_grouped(wanted)
    runs = gather(places_named(names, root, where))
    document = report_of(runs, _look(runs, wanted))
    written = _write(document, html, {"png": png, "svg": svg})
    if as_json:
        typer.echo(json.dumps(to_json(document), indent=2))
    else:
        print_report(document, drawn=not written)
    for path in written:
        sys.stderr.write(f"wrote {path}\n")


def _look(runs: Sequence[ReportRun], wanted: Grouped) -> Presentation:
    """How the runs are drawn: as the options choose, else as their sweep does."""
    snapshot = Snapshot(0.0, (as_submitted(runs[0].run.sweep),), tuple(run.view for run in runs))
    grouping = chosen_grouping(snapshot, wanted)
    band = None if wanted.band is None and grouping.band == "interval" else grouping.band
    return Presentation(band, grouping.by, wanted.single)


def claims(names: SomeRuns = None, as_json: Json = False, root: Root = None) -> None:
    """List the paper's claims and the presets that test each.

    Given runs, also their verdicts and the missing evidence."""
    document = report_of(gather(places_named(names, root))) if names else None
    rows = [_claim_row(claim, document) for claim in CLAIMS]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    print_claims(rows, with_runs=document is not None)


def _write(document: Report, html: Path | None, folders: dict[Kind, Path | None]) -> list[Path]:
    """Write the files; existing ones are replaced, since a report is rewritten as runs progress.

    Raises:
        StoreError: a file cannot be written.
    """
    written = []
    if html is not None:
        from bncore.report.page import page  # noqa: PLC0415 - matplotlib

        write_out(html, page(document).encode())
        written.append(html)
    for kind, folder in folders.items():
        if folder is not None:
            from bncore.report.render import save_pictures  # noqa: PLC0415 - matplotlib

            written += save_pictures(document.pictures, folder, kind)
    return written


def _claim_row(claim: Claim, document: Report | None) -> dict[str, Any]:
    tests = presets_for(claim)
    row: dict[str, Any] = {
        "claim": claim.key,
        "text": claim.text,
        "place": claim.place,
        "presets": [test.name for test in tests if not test.options],
        "presets_with_options": {test.name: " ".join(test.options) for test in tests if test.options},
        "needs": [need.text for need in claim.needs],
        "command": tests[0].command() if tests else "bnrun theory",
    }
    if document is not None:
        judged = next(one for one in document.judged if one.claim is claim)
        lacks = document.missing(judged)
        row |= {"verdict": judged.verdict.value, "missing": list(lacks.lacks), "command": lacks.command}
    return row
