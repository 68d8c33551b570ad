"""The paper's figures as `bncore.figure` has them, with what only a report knows of each panel."""

from __future__ import annotations

from dataclasses import dataclass

from bncore.figure import ChartData, Picture
from bncore.report.rank import PaperRank


@dataclass(frozen=True, slots=True)
class ReportPanel(ChartData):
    """A panel of a figure."""

    ranks: tuple[PaperRank, ...] = ()
    """Where the paper's curves lie among the seeds."""
    first_seed: bool = False
    """Whether its lines are of the first seed alone."""


@dataclass(frozen=True, slots=True)
class ReportPicture(Picture):
    """A figure."""

    panels: tuple[ReportPanel, ...]

    @property
    def ranks(self) -> tuple[PaperRank, ...]:
        """Of all panels."""
        return tuple(rank for panel in self.panels for rank in panel.ranks)
