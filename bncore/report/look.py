"""How the runs of a report are drawn together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bncore.config.measure import Band
from bncore.follow.groups import Group, groups_of
from bncore.report.report_run import ReportRun


@dataclass(frozen=True)
class Look:
    """What a person chose, and the styles that `show` and the explorer give the same runs."""

    band: Band | None = None
    """About a mean. None: the interval, and beside a curve of the paper, which is of one run, the range of the
    seeds at its samples."""
    by: tuple[str, ...] = ()
    """Settings that the runs of pictures beside the paper's figures are grouped by; none: by variant."""
    single: bool = False
    """Whether each run is drawn by itself."""
    groups: tuple[Group, ...] = ()
    """Of all runs, by these settings."""
    styles: Mapping[Path, int] = field(default_factory=dict)
    """By directory: that of its variant."""

    def of(self, runs: Sequence[ReportRun]) -> Look:
        """The same with the groups and the styles of these runs."""
        views = [run.view for run in runs]
        variants = groups_of(views)
        styles = {view.run.path: group.style for group in variants for view in group.runs}
        return Look(
            self.band, self.by, self.single, groups_of(views, self.by) if self.by else variants, styles
        )
