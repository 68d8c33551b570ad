"""Pictures that are no figure of the paper: the means of other runs, and by itself each that is no evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

from bncore.figure import LegendEntry
from bncore.follow.groups import Group
from bncore.measures import SHOWN
from bncore.report.comparison_group import PLAIN, ComparisonGroup, Presentation
from bncore.report.rank import ReportPanel, ReportPicture
from bncore.report.report_run import ReportRun
from bncore.report.series import CurveGroup, DrawnMeasure, curves_of, departure_marks, means_note
from bncore.store.measured import middle_layer

MOST = 16
"""Runs or groups in one picture."""


def overviews(
    settings: Sequence[ComparisonGroup],
    others: Sequence[ReportRun],
    covered: set[str],
    presentation: Presentation = PLAIN,
) -> Iterator[ReportPicture]:
    """A picture of each setting that no figure covers, or in which some run is no evidence, or whose runs are to
    be grouped; and of the runs that observed somebody's own loop.

    Arguments:
        covered: titles of settings that a figure covers.
    """
    for number, setting in enumerate(settings, start=1):
        runs = list(setting.runs)
        apart = [run for run in runs if not run.counts]
        if setting.title in covered and not (apart or presentation.by):
            continue
        chosen = runs if setting.title not in covered else apart + [run for run in runs if run.counts]
        yield from _picture(f"runs{number}", setting.title, chosen, presentation)
    if others:
        yield from _picture("observed", "Training loops that were observed", others, presentation)


def _picture(
    name: str, title: str, runs: Sequence[ReportRun], presentation: Presentation
) -> Iterator[ReportPicture]:
    groups = list(_grouped(runs, presentation))
    shown = groups[:MOST]
    plots = [plot for plot in _panels(shown, presentation) if not plot.empty]
    if not plots:
        return
    drawn = [run for group in shown for run in group.runs]
    notes = [
        f"{run.name} is no evidence for its variant: {run.excluded_because}."
        for run in drawn
        if not run.counts
    ]
    means = any(len(group.runs) > 1 for group in shown)
    if means:
        notes.append(means_note(presentation))
    if len(drawn) < len(runs):
        notes.append(f"{len(drawn)} of {len(runs)} runs are drawn.")
    legend = tuple(LegendEntry(_label(group), group.style) for group in shown)
    heading = "Means over runs" if means else "Run by run"
    yield ReportPicture(name, heading, title, tuple(plots), legend, notes=tuple(notes))


def _label(group: CurveGroup) -> str:
    """In the legend."""
    if len(group.runs) > 1:
        return f"{group.name} ({len(group.runs)} runs)"
    reason = group.runs[0].excluded_because
    return f"{group.name} — {reason}" if reason else group.name


def _grouped(runs: Sequence[ReportRun], presentation: Presentation) -> Iterator[CurveGroup]:
    """Runs that are evidence in the groups that `show` makes, the others by themselves."""
    group_of = {view.run.path: group for group in presentation.groups for view in group.runs}
    found: dict[object, list[ReportRun]] = {}
    for run in runs:
        group = group_of.get(run.run.path)
        alone = group is None or presentation.single or not run.counts
        found.setdefault(run if alone else group, []).append(run)
    free = count(max((group.style for group in presentation.groups), default=-1) + 1)
    for key, together in found.items():
        name, style = (key.name, key.style) if isinstance(key, Group) else (together[0].name, next(free))
        yield CurveGroup(name, style, tuple(together))


def _panels(groups: Sequence[CurveGroup], presentation: Presentation) -> Iterator[ReportPanel]:
    """A panel of each measure that is shown, of the middle layer where it has a value for each."""
    columns = [run.columns for group in groups for run in group.runs]
    marks = tuple(mark for one in groups for mark in departure_marks(one))
    for measure in SHOWN:
        layer, title = None, measure.title
        if measure.per_layer:
            layer = middle_layer(columns, measure)
            title = f"{title}, layer {layer}"
        if layer is not None or not measure.per_layer:
            curves = tuple(
                c for one in groups for c in curves_of(one, DrawnMeasure(measure, layer), presentation)
            )
            yield ReportPanel(title, curves, marks, log_y=measure.log, y_name=measure.symbol)
