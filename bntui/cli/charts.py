"""Export of the explorer's charts as SVG and PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from bncore.aggregate import BANDS
from bncore.figure import Picture
from bncore.report.render import Kind, content
from bncore.store.paths import RunDir, SweepDir
from bntui.chart.export_chart import picture_of, together
from bntui.cli.drawn import drawn, pinned_run
from bntui.cli.grouped import Grouped, grouping_of, warn_unplaced
from bntui.cli.options import fail, refuse_existing
from bntui.live.drawing import PanelState
from bntui.live.panels import first_panels
from bntui.live.snapshot import names_of_data
from bntui.live.sources import read_whole


def export_charts(
    places: Sequence[RunDir | SweepDir],
    kinds: Sequence[Kind],
    keys: Sequence[str],
    folder: Path,
    wanted: Grouped,
) -> None:
    """Write one file per chart and kind, with all runs in each, and print the paths. Existing files are never
    overwritten.

    Arguments:
        keys: keys of `bntui.live.panels.PANELS`; empty: the explorer's default charts, without those that would be
            empty.
        folder: output folder; created if missing.
        wanted: options for grouping and drawing.

    Raises:
        BadParameter: a file exists.
        Exit: there is nothing to draw, or the folder cannot be written; reported on standard error.
    """
    charts = _charts(places, keys, wanted)
    files = {folder / f"{key}.{kind}": (charts[key], kind) for key in charts for kind in kinds}
    refuse_existing(files)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, (picture, kind) in files.items():
            with path.open("xb") as file:
                file.write(content(picture, kind))
            typer.echo(str(path))
    except OSError as error:
        fail(f"{folder}: cannot be written: {error.strerror}")


def _charts(places: Sequence[RunDir | SweepDir], keys: Sequence[str], wanted: Grouped) -> dict[str, Picture]:
    """Pictures of the charts, by key."""
    snapshot = read_whole(*places)
    figure = snapshot.sweeps[0].figure if snapshot.sweeps else ""
    grouping = grouping_of(snapshot, wanted)
    called = ", ".join(place.name for place in places[:3]) + (", …" if len(places) > 3 else "")
    setting = "; ".join((called, *names_of_data(snapshot.runs)))
    if grouping is not None:
        setting += f"; means, {BANDS[grouping.band]}"
    warn_unplaced(snapshot, wanted.axis)
    groups = grouping.groups(snapshot.runs) if grouping else ()
    pinned = pinned_run(snapshot, groups, wanted.reference)
    state = PanelState(figure=figure, grouping=grouping, axis=wanted.axis, pinned=pinned)
    pictures = {}
    for key in dict.fromkeys(keys or first_panels(snapshot.runs)):
        charts = drawn(key, snapshot, state, wanted)
        shown = {name: picture_of(data, setting=setting) for name, data in charts.items() if data.curves}
        if shown:
            pictures[key] = together(shown)
        elif keys:
            fail(f"{key}: {next(iter(charts.values())).note or 'nothing to draw'}")
    if not pictures:
        fail("nothing to draw yet")
    return pictures
