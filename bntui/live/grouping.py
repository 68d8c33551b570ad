"""Curves of runs, and of groups of runs as a mean with a band."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bncore.aggregate import Aggregate, aggregate
from bncore.config.measure import Band, Measure
from bncore.figure import Curve, VLine
from bncore.follow.groups import Group, curve_of, departures, group_curves, groups_of, members
from bncore.follow.run_view import RunView
from bncore.store.machine_log import MACHINE
from bntui.live.axes import Axis, at_steps, on_axis
from bntui.live.snapshot import Snapshot

MOST_STEPS = 2048
"""Maximum number of steps of a mean: a longer one is drawn at every second, fourth, … step. More than a terminal
has columns."""
REMEMBERED = 512
"""Number of aggregates cached for incremental updates."""


@dataclass(eq=False)
class Grouping:
    """How runs are grouped, with a cache of groups and aggregates."""

    band: Band = "interval"
    by: tuple[str, ...] = ()
    """Dotted paths of settings; empty: by variant."""
    most: int = MOST_STEPS
    shows_selected: bool = True
    """Whether the runs of the selected group are drawn behind their mean."""
    _runs: tuple[RunView, ...] = ()
    """All runs of the snapshot, drawn or not."""
    _grouped: dict[tuple[RunView, ...], tuple[Group, ...]] = field(default_factory=dict)
    """Groups, by the runs that they were made of."""
    _aggregates: dict[tuple[object, ...], Aggregate] = field(default_factory=dict)

    def choose(
        self, snapshot: Snapshot, by: Sequence[str] | None, band: Band | None, usual: Band = "interval"
    ) -> None:
        """Group by these settings and draw this band; None takes the first sweep's choice.

        Arguments:
            usual: band if the sweep does not choose its own.
        """
        sweep = next(iter(snapshot.sweeps), None)
        chosen = tuple(by) if by is not None else sweep.group_by if sweep else ()
        if (self._runs, self.by) != (snapshot.runs, chosen):
            self._runs, self.by, self._grouped = snapshot.runs, chosen, {}
        said = sweep.band if sweep else "interval"
        self.band = band or (usual if said == "interval" else said)

    def groups(self, views: Sequence[RunView]) -> tuple[Group, ...]:
        """The runs grouped, in order of style, but with the group of the last run at the end. Names and styles of
        the groups are those that they have among all runs."""
        key = tuple(views)
        if key not in self._grouped:
            runs = self._runs if set(views) <= set(self._runs) else key
            of_all = groups_of(sorted(runs, key=lambda view: view.style), self.by)
            drawn = (replace(group, runs=tuple(v for v in group.runs if v in key)) for group in of_all)
            shown = [group for group in drawn if group.runs]
            self._grouped[key] = tuple(sorted(shown, key=lambda group: views[-1] in group.runs))
        return self._grouped[key]

    def curves(
        self, views: Sequence[RunView], measure: Measure, layer: int | None, axis: Axis = "step"
    ) -> Iterator[Curve]:
        """Mean and band of each group; for the group of the last run, which is the selected one, also its runs."""
        for group in self.groups(views):
            for curve in self._of(group, views, measure, layer, selected=views[-1] in group.runs):
                yield from on_axis(curve, group.runs, axis)

    def departures(self, views: Sequence[RunView], axis: Axis = "step") -> tuple[VLine, ...]:
        """A line where a run leaves its group, whose mean continues without it."""
        departed = [
            (left, group.style)
            for group in self.groups(views)
            if len(group.runs) > 1
            for left in departures(group)
        ]
        return tuple(
            VLine(x, f"{left.run.name} {left.why} @{left.step:,}", style)
            for left, style in sorted(departed, key=lambda one: one[0].step)
            if np.isfinite(x := float(at_steps(axis, left.run, np.array([float(left.step)]))[0]))
        )

    def _of(
        self, group: Group, views: Sequence[RunView], measure: Measure, layer: int | None, *, selected: bool
    ) -> Iterator[Curve]:
        alone = len(group.runs) == 1
        if alone or measure.table == MACHINE:  # machine samples have different steps in each run: no mean
            for view in group.runs:
                for curve in curve_of(views, view, measure, layer):
                    yield replace(curve, label=group.name if alone else view.name, style=group.style)
            return
        yield from group_curves(
            group,
            measure,
            layer,
            self.band,
            aggregate_of=lambda one: self._aggregate(group, one, layer),
            with_runs=selected and self.shows_selected,
        )

    def _aggregate(self, group: Group, measure: Measure, layer: int | None) -> Aggregate:
        """Aggregate a group's runs, updating the cached aggregate with new points only."""
        paths = tuple(view.run.path for view in group.runs)
        key = (paths, measure.table, measure.field, layer, self.band)
        if len(self._aggregates) >= REMEMBERED and key not in self._aggregates:
            self._aggregates.clear()
        updated = aggregate(
            members(group, measure, layer),
            self.band,
            log=measure.log,
            most=self.most,
            before=self._aggregates.get(key),
        )
        self._aggregates[key] = updated
        return updated


def facets_of(
    views: Sequence[RunView], by: Sequence[str], reference: Group | None = None
) -> dict[str, list[RunView]]:
    """The runs of each facet, by the facet's name, in the order given.

    Arguments:
        by: dotted paths of the settings whose values define the facets; empty: a facet for each variant.
        reference: group whose runs are in every facet.
    """
    always = set(reference.runs) if reference is not None else set()
    groups = groups_of(sorted(views, key=lambda view: view.style), by)
    return {group.name: [view for view in views if view in group.runs or view in always] for group in groups}
