"""Pictures that are no figure of the paper: the means of other runs, and by itself each that is no evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bncore.figure import LegendEntry
from bncore.measures import SHOWN
from bncore.report.comparison_group import PLAIN, ComparisonGroup
from bncore.report.look import Look
from bncore.report.picture import ReportPanel, ReportPicture
from bncore.report.report_run import ReportRun
from bncore.report.series import Drawn, curves_of, departure_marks, means_note
from bncore.store.measured import middle_layer

MOST = 16
"""Runs or groups in one picture."""


@dataclass(frozen=True)
class _Together:
    """Runs that are drawn as one."""

    name: str
    style: int
    runs: tuple[ReportRun, ...]

    @property
    def label(self) -> str:
        """In the legend."""
        if len(self.runs) > 1:
            return f"{self.name} ({len(self.runs)} runs)"
        reason = self.runs[0].excluded_because
        return f"{self.name} — {reason}" if reason else self.name


def overviews(
    settings: Sequence[ComparisonGroup],
    others: Sequence[ReportRun],
    covered: set[str],
    look: Look = PLAIN,
) -> Iterator[ReportPicture]:
    """A picture of each setting that no figure covers, or in which some run is no evidence, or whose runs are to
    be grouped; and of the runs that observed somebody's own loop.

    Arguments:
        covered: titles of settings that a figure covers.
    """
    for number, setting in enumerate(settings, start=1):
        runs = list(setting.runs)
        apart = [run for run in runs if not run.counts]
        if setting.title in covered and not (apart or look.by):
            continue
        chosen = runs if setting.title not in covered else apart + [run for run in runs if run.counts]
        yield from _picture(f"runs{number}", setting.title, chosen, look)
    if others:
        yield from _picture("observed", "Training loops that were observed", others, look)


def _picture(name: str, title: str, runs: Sequence[ReportRun], look: Look) -> Iterator[ReportPicture]:
    groups = list(_grouped(runs, look))
    shown = groups[:MOST]
    plots = [plot for plot in _panels(shown, look) if not plot.empty]
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
        notes.append(means_note(look))
    if len(drawn) < len(runs):
        notes.append(f"{len(drawn)} of {len(runs)} runs are drawn.")
    legend = tuple(LegendEntry(group.label, group.style) for group in shown)
    heading = "Means over runs" if means else "Run by run"
    yield ReportPicture(name, heading, title, tuple(plots), legend, notes=tuple(notes))


def _grouped(runs: Sequence[ReportRun], look: Look) -> Iterator[_Together]:
    """Runs that are evidence in the groups that `show` makes, the others by themselves."""
    group_of = {view.run.path: group for group in look.groups for view in group.runs}
    alone = {run.run.path for run in runs if look.single or not run.counts or run.run.path not in group_of}
    found: dict[object, list[ReportRun]] = {}
    for run in runs:
        path = run.run.path
        found.setdefault(path if path in alone else group_of[path].name, []).append(run)
    free = max((group.style for group in look.groups), default=-1) + 1
    for key, together in found.items():
        first = together[0]
        group = group_of.get(first.run.path)
        if first.run.path in alone or group is None:
            yield _Together(first.name, free, (first,))
            free += 1
        else:
            yield _Together(str(key), group.style, tuple(together))


def _panels(groups: Sequence[_Together], look: Look) -> Iterator[ReportPanel]:
    """A panel of each measure that is shown, of the middle layer where it has a value for each."""
    columns = [run.columns for group in groups for run in group.runs]
    for measure in SHOWN:
        layer, title = None, measure.title
        if measure.per_layer:
            layer = middle_layer(columns, measure)
            title = f"{title}, layer {layer}"
        if layer is None and measure.per_layer:
            continue
        drawn = Drawn(measure, layer)
        curves = [c for one in groups for c in curves_of(one.name, one.style, one.runs, drawn, look)]
        marks = [mark for one in groups for mark in departure_marks(one.name, one.style, one.runs)]
        yield ReportPanel(title, tuple(curves), tuple(marks), log_y=measure.log, y_name=measure.symbol)
