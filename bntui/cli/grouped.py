"""Options for grouping and drawing runs, shared by the commands that draw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

import typer

from bncore.aggregate import BANDS
from bncore.config.errors import did_you_mean
from bncore.config.measure import Band
from bncore.config.overrides import ALIASES
from bncore.follow.groups import VARIANT, varying
from bncore.follow.request_view import SPELLING
from bncore.follow.run_fields import run_fields
from bntui.cli.options import refuse, say, with_options
from bntui.live.axes import Axis, unplaced
from bntui.live.grouping import Grouping
from bntui.live.snapshot import Snapshot


def complete_setting(incomplete: str) -> list[str]:
    """Short names and paths of settings that start with `incomplete`."""
    return [
        name
        for name, field in run_fields().items()
        if field.kind == "setting" and name.startswith(incomplete) and ("." not in name or "." in incomplete)
    ]


@dataclass(frozen=True)
class Grouped:
    """Values of the options."""

    single: Annotated[
        bool,
        typer.Option(
            "--single-runs", help="Draw each run separately.  [default: the mean over a variant's seeds]"
        ),
    ] = False
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            help="Setting to group runs by, such as optim.lr, or `variant`; repeatable.  [default: variant]",
            autocompletion=complete_setting,
        ),
    ] = None
    band: Annotated[
        Band | None,
        typer.Option(
            "--band", help=f"Band around a mean: {'; '.join(f'{k}: {v}' for k, v in BANDS.items())}."
        ),
    ] = None
    axis: Annotated[
        Axis,
        typer.Option(
            "--axis", help="Draw over: step, training loss, epochs, samples, share of the run, minutes."
        ),
    ] = "step"
    y_range: Annotated[
        str | None,
        typer.Option("--y-range", metavar="LO:HI", help="Values that the charts of --chart show."),
    ] = None
    facets: Annotated[
        str | None,
        typer.Option(
            "--facets",
            metavar="SETTING",
            help="A chart for each value of a setting, or for each `variant`.",
            autocompletion=complete_setting,
        ),
    ] = None
    reference: Annotated[
        str | None,
        typer.Option("--reference", metavar="RUN|GROUP", help="Run or group that is emphasized."),
    ] = None

    @property
    def is_grouped(self) -> bool:
        """Whether a grouping option was given."""
        return bool(self.by or self.band)

    @property
    def drawing(self) -> dict[str, object]:
        """Drawing options by name; a falsy value means that the option was not given."""
        axis = self.axis != "step"
        return {
            "--axis": axis, "--y-range": self.y_range, "--facets": self.facets, "--reference": self.reference,
        }  # fmt: skip


with_groups = with_options("wanted", Grouped, ("single", "by", "band"))
with_drawing = with_options("wanted", Grouped)


def check_grouped(wanted: Grouped, *, without: str = "") -> None:
    """Refuse combinations of options that have no effect.

    Arguments:
        without: why grouping does not apply at all, such as ``with --json``; empty if it does.

    Raises:
        BadParameter: names the option.
    """
    grouping = {"--by": wanted.by, "--band": wanted.band}
    every = {**grouping, "--single-runs": wanted.single, **wanted.drawing}
    given = every if without else grouping if wanted.single else {}
    for option, value in given.items():
        if value:
            refuse(option, f"given {without or 'with --single-runs'}, which it does not apply to")


def warn_unplaced(snapshot: Snapshot, axis: Axis) -> None:
    """Report how many runs have no known position on the axis."""
    missing = unplaced(snapshot.runs, axis)
    if missing:
        say(f"bnrun: {missing}")


def settings_named(names: Iterable[str], snapshot: Snapshot, option: str) -> tuple[str, ...]:
    """Dotted paths of the named settings, all of which must vary among the runs, and `variant` if it is named
    with others; alone it is the default, which is empty.

    Raises:
        BadParameter: one does not vary; names those that do.
    """
    varied = {path: SPELLING.get(path, path) for path in varying(snapshot.runs)}
    by = {name: ALIASES.get(name, name) for name in names}
    for name, path in by.items():
        if path not in varied and path != VARIANT:
            refuse(option, _no_group(name, varied))
    return () if {*by} == {VARIANT} else tuple(by.values())


def _no_group(name: str, varied: Mapping[str, str]) -> str:
    """Why runs cannot be grouped by a setting.

    Arguments:
        varied: short names of the settings that vary, by their paths.
    """
    if not varied:
        return f"{name!r}: no setting varies among these runs"
    field = run_fields().get(name)
    is_setting = field is not None and field.kind == "setting"
    why = "does not vary among these runs" if is_setting else "is no setting"
    hint = did_you_mean(name, [*varied.values(), *varied])
    return f"{name!r} {why}; expected variant or one of {', '.join(varied.values())}{hint}"


def chosen_grouping(snapshot: Snapshot, wanted: Grouped) -> Grouping:
    """Grouping chosen by the options, else by the sweep.

    Raises:
        BadParameter: a setting does not vary among the runs; names those that do.
    """
    by = settings_named(wanted.by or (), snapshot, "--by")
    grouping = Grouping(most=0, shows_selected=False)
    grouping.choose(snapshot, by if wanted.by else None, wanted.band)
    return grouping


def grouping_of(snapshot: Snapshot, wanted: Grouped) -> Grouping | None:
    """How the runs are grouped; None: single runs.

    Raises:
        BadParameter: as `chosen_grouping`.
    """
    grouping = chosen_grouping(snapshot, wanted)
    several = {*(wanted.by or ())} - {VARIANT} or any(
        len(group.runs) > 1 for group in grouping.groups(snapshot.runs)
    )
    return grouping if several and not wanted.single else None
