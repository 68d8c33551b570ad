"""How runs are drawn together: options of the commands that draw."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import typer

from bncore.aggregate import BANDS
from bncore.config.errors import escape_control
from bncore.config.measure import Band
from bncore.config.overrides import ALIASES
from bncore.follow.groups import varying
from bntui.live.grouping import Grouping
from bntui.live.snapshot import Snapshot

Single = Annotated[
    bool,
    typer.Option("--single-runs", help="Each run by itself.  [default: the mean over a variant's seeds]"),
]
By = Annotated[
    list[str] | None,
    typer.Option("--by", help="Setting to group runs by, such as optim.lr; repeatable.  [default: variant]"),
]
BandOption = Annotated[
    Band | None,
    typer.Option("--band", help=f"About a mean: {'; '.join(f'{k}: {v}' for k, v in BANDS.items())}."),
]


class Grouped(NamedTuple):
    """What the options say."""

    single: bool = False
    by: list[str] | None = None
    band: Band | None = None


def grouping_of(snapshot: Snapshot, wanted: Grouped) -> Grouping | None:
    """How the runs are drawn together; None: each by itself.

    Raises:
        BadParameter: a setting that does not vary among the runs, naming those that do.
    """
    by = tuple(ALIASES.get(name, name) for name in wanted.by or ())
    known = varying(snapshot.runs)
    for path in by:
        if path not in known:
            accepted = ", ".join(known) or "a setting that varies: none does"
            raise typer.BadParameter(
                escape_control(f"{path!r}; expected one of {accepted}"), param_hint="--by"
            )
    grouping = Grouping(most=0)
    grouping.choose(snapshot, by or None, wanted.band)
    several = by or any(len(group.runs) > 1 for group in grouping.groups(snapshot.runs))
    return grouping if several and not wanted.single else None
