"""How runs are drawn together: options of the commands that draw."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated, NamedTuple

import typer

from bncore.aggregate import BANDS
from bncore.config.errors import escape_control
from bncore.config.measure import Band
from bncore.config.overrides import ALIASES
from bncore.follow.groups import varying
from bncore.follow.run_fields import run_fields
from bntui.cli.options import say
from bntui.live.axes import Axis, unplaced
from bntui.live.grouping import Grouping
from bntui.live.snapshot import Snapshot


def complete_setting(incomplete: str) -> list[str]:
    """Short names and paths of settings that begin so."""
    return [
        name
        for name, field in run_fields().items()
        if field.kind == "setting" and name.startswith(incomplete) and ("." not in name or "." in incomplete)
    ]


Single = Annotated[
    bool,
    typer.Option("--single-runs", help="Each run by itself.  [default: the mean over a variant's seeds]"),
]
By = Annotated[
    list[str] | None,
    typer.Option(
        "--by",
        help="Setting to group runs by, such as optim.lr; repeatable.  [default: variant]",
        autocompletion=complete_setting,
    ),
]
BandOption = Annotated[
    Band | None,
    typer.Option("--band", help=f"About a mean: {'; '.join(f'{k}: {v}' for k, v in BANDS.items())}."),
]


AxisOption = Annotated[
    Axis,
    typer.Option(
        "--axis", help="Draw over: step, epochs, samples, share of the run, minutes, training loss."
    ),
]


class Grouped(NamedTuple):
    """What the options say."""

    single: bool = False
    by: list[str] | None = None
    band: Band | None = None
    axis: Axis = "step"

    @property
    def asked(self) -> bool:
        """Whether they say anything of groups."""
        return bool(self.by or self.band)


def check_grouped(wanted: Grouped, *, without: str = "") -> None:
    """Refuse options that say nothing together.

    Arguments:
        without: where nothing is drawn together at all, why, such as ``with --json``.

    Raises:
        BadParameter: naming the option.
    """
    axis = without and wanted.axis != "step"
    given = {
        "--by": wanted.by, "--band": wanted.band, "--single-runs": without and wanted.single, "--axis": axis,
    }  # fmt: skip
    for option, value in given.items():
        if value and (without or wanted.single):
            reason = without or "with --single-runs"
            raise typer.BadParameter(f"given {reason}, which it does not apply to", param_hint=option)


def warn_unplaced(snapshot: Snapshot, axis: Axis) -> None:
    """Say of how many runs nobody knows where they are on the axis."""
    missing = unplaced(snapshot.runs, axis)
    if missing:
        say(f"bnrun: {missing}")


def _no_group(path: str, known: Sequence[str]) -> str:
    """Why runs are not grouped by a setting."""
    if not known:
        return f"{path!r}: no setting varies among these runs"
    near = get_close_matches(path, known, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{path!r} does not vary among these runs; expected variant or one of {', '.join(known)}{hint}"


def chosen_grouping(snapshot: Snapshot, wanted: Grouped) -> Grouping:
    """How the options, and where they do not say the sweep, have the runs grouped.

    Raises:
        BadParameter: a setting that does not vary among the runs, naming those that do.
    """
    by = tuple(ALIASES.get(name, name) for name in wanted.by or () if name != "variant")
    known = varying(snapshot.runs)
    for path in by:
        if path not in known:
            raise typer.BadParameter(escape_control(_no_group(path, known)), param_hint="--by")
    grouping = Grouping(most=0, shows_selected=False)
    grouping.choose(snapshot, by if wanted.by else None, wanted.band)
    return grouping


def grouping_of(snapshot: Snapshot, wanted: Grouped) -> Grouping | None:
    """How the runs are drawn together; None: each by itself.

    Raises:
        BadParameter: as `chosen_grouping`.
    """
    grouping = chosen_grouping(snapshot, wanted)
    several = {*(wanted.by or ())} - {"variant"} or any(
        len(group.runs) > 1 for group in grouping.groups(snapshot.runs)
    )
    return grouping if several and not wanted.single else None
