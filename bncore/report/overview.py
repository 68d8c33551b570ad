"""Pictures that are no figure of the paper: every run by itself, those that are no evidence among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bncore.figure import VARIANT_STYLES, Curve, LegendEntry
from bncore.measures import SHOWN
from bncore.report.comparison_group import ComparisonGroup
from bncore.report.picture import ReportPanel, ReportPicture
from bncore.report.report_run import ReportRun
from bncore.report.series import Drawn, Style, curves_of
from bncore.store.measured import middle_layer

MOST = 12
"""Runs in one picture."""


def overviews(
    settings: Sequence[ComparisonGroup], others: Sequence[ReportRun], covered: set[str]
) -> Iterator[ReportPicture]:
    """A picture of each setting that no figure covers, or in which some run is no evidence; and of the runs that
    observed somebody's own loop.

    Arguments:
        covered: titles of settings that a figure covers.
    """
    for number, setting in enumerate(settings, start=1):
        runs = list(setting.runs)
        apart = [run for run in runs if not run.counts]
        if setting.title in covered and not apart:
            continue
        chosen = runs if setting.title not in covered else apart + [run for run in runs if run.counts]
        yield from _picture(f"runs{number}", setting.title, chosen)
    if others:
        yield from _picture("observed", "Training loops that were observed", others)


def _picture(name: str, title: str, runs: Sequence[ReportRun]) -> Iterator[ReportPicture]:
    shown = runs[:MOST]
    styles = {run.name: Style(len(VARIANT_STYLES) + place, place // 8) for place, run in enumerate(shown)}
    plots = [plot for plot in _panels(shown, styles) if not plot.empty]
    if not plots:
        return
    notes = [
        f"{run.name} is no evidence for its variant: {run.excluded_because}."
        for run in shown
        if not run.counts
    ]
    if len(runs) > len(shown):
        notes.append(f"{len(shown)} of {len(runs)} runs are drawn.")
    legend = tuple(
        LegendEntry(f"{run.name}{'' if run.counts else f' — {run.excluded_because}'}", *styles[run.name])
        for run in shown
    )
    yield ReportPicture(name, "Run by run", title, tuple(plots), legend, notes=tuple(notes))


def _panels(runs: Sequence[ReportRun], styles: dict[str, Style]) -> Iterator[ReportPanel]:
    """A panel of each measure that is shown, of the middle layer where it has a value for each."""
    for measure in SHOWN:
        layer, title = None, measure.title
        if measure.per_layer:
            layer = middle_layer((run.columns for run in runs), measure)
            title = f"{title}, layer {layer}"
        if layer is not None or not measure.per_layer:
            curves = tuple(_curves(runs, styles, Drawn(measure, layer)))
            yield ReportPanel(title, curves, log_y=measure.log, y_name=measure.symbol)


def _curves(runs: Sequence[ReportRun], styles: dict[str, Style], drawn: Drawn) -> Iterator[Curve]:
    for run in runs:
        yield from curves_of(run.name, styles[run.name], {run.seed: [run]}, drawn)
