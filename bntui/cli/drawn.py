"""The explorer's charts, drawn according to a command's options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bncore.config.errors import did_you_mean
from bncore.figure import ChartData, Span
from bncore.follow.groups import Group
from bncore.follow.run_view import RunView
from bntui.chart.view import View, over_one_range, span_of
from bntui.cli.grouped import Grouped, settings_named
from bntui.cli.options import refuse
from bntui.live.drawing import PanelState
from bntui.live.grouping import facets_of
from bntui.live.panels import PANELS
from bntui.live.snapshot import Snapshot

CHART_HELP = "Chart to plot, such as loss or beta (docs/reference/measures.md); repeatable."


def check_charts(keys: Sequence[str], wanted: Grouped) -> None:
    """Refuse unknown charts, and a y range without named charts.

    Raises:
        BadParameter: names what is accepted.
    """
    unknown = [key for key in keys if key not in PANELS]
    if unknown:
        hint = did_you_mean(unknown[0], list(PANELS))
        refuse("--chart", f"{unknown[0]!r}; expected one of {', '.join(PANELS)}{hint}")
    if wanted.y_range and not keys:
        refuse("--y-range", "given without --chart; expected both")
    for key in keys:
        _span(wanted, log=PANELS[key].measure.log)


def drawn(key: str, snapshot: Snapshot, state: PanelState, wanted: Grouped) -> dict[str, ChartData]:
    """A chart by the empty name, or with facets a chart for each facet's name, all with one range of values.

    Raises:
        BadParameter: the facets' setting does not vary among the runs.
    """
    make, runs = PANELS[key].make, snapshot.runs
    charts = {"": make(runs, state)}
    if wanted.facets:
        by = settings_named([wanted.facets], snapshot, "--facets")
        grouped = state.grouping.groups(runs) if state.grouping else ()
        alone = (Group(view.name, view.style, (view,)) for view in runs)
        groups = grouped or alone
        pinned = next((g for g in groups if any(v.run.path == state.pinned for v in g.runs)), None)
        charts_by_facet = {name: make(views, state) for name, views in facets_of(runs, by, pinned).items()}
        charts = over_one_range(
            {name: data for name, data in charts_by_facet.items() if data.curves} or charts, View(), 0
        )
    span = _span(wanted, log=charts[next(iter(charts))].log_y)
    return {name: replace(data, y_span=span or data.y_span) for name, data in charts.items()}


def _span(wanted: Grouped, *, log: bool) -> Span | None:
    try:
        return span_of(wanted.y_range or "", log=log)
    except ValueError as error:
        refuse("--y-range", f"{wanted.y_range!r}; {error}")


def pinned_run(snapshot: Snapshot, groups: Sequence[Group], name: str | None) -> Path | None:
    """Directory of the run with this name, or of the first run of the group with this name.

    Raises:
        BadParameter: there is neither; names those that exist.
    """
    if name is None:
        return None
    of_groups = {group.name: group.runs[0] for group in groups}
    runs = {called: view for view in snapshot.runs for called in _names(view)}
    path = of_groups.get(name) or runs.get(name)
    if path is None:
        names = [*of_groups] or [view.name for view in snapshot.runs]
        or_run = " or a run" if of_groups else ""
        hint = did_you_mean(name, [*names, *runs])
        refuse("--reference", f"{name!r}; expected one of {', '.join(names)}{or_run}{hint}")
    return path.run.path


def _names(view: RunView) -> tuple[str, ...]:
    return view.name, view.run.name, str(view.run.path), view.run.path.name
