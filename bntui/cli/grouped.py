"""How runs are drawn together: options of the commands that draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import typer

from bncore.aggregate import BANDS, Band
from bncore.config.errors import escape_control
from bncore.config.overrides import ALIASES
from bncore.follow.groups import varying
from bncore.follow.run_view import RunView
from bntui.live.grouping import Grouping

Single = Annotated[
    bool,
    typer.Option("--single-runs", help="Each run by itself.  [default: the mean over a variant's seeds]"),
]
By = Annotated[
    list[str] | None,
    typer.Option("--by", help="Setting to group runs by, such as optim.lr; repeatable.  [default: variant]"),
]
BandOption = Annotated[
    Band, typer.Option("--band", help=f"About a mean: {'; '.join(f'{k}: {v}' for k, v in BANDS.items())}.")
]


class Grouped(NamedTuple):
    """What the options say."""

    single: bool = False
    by: list[str] | None = None
    band: Band = "interval"


def grouping_of(views: Sequence[RunView], wanted: Grouped) -> Grouping | None:
    """How the runs are drawn together; None: each by itself.

    Raises:
        BadParameter: a setting that does not vary among the runs, naming those that do.
    """
    by = tuple(ALIASES.get(name, name) for name in wanted.by or ())
    known = varying(views)
    for path in by:
        if path not in known:
            accepted = ", ".join(known) or "a setting that varies: none does"
            raise typer.BadParameter(
                escape_control(f"{path!r}; expected one of {accepted}"), param_hint="--by"
            )
    grouping = Grouping(wanted.band, by, most=0)
    several = by or any(len(group.runs) > 1 for group in grouping.groups(views))
    return grouping if several and not wanted.single else None
