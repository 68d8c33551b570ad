"""The first line of pages about runs: where one is, and how far everything is."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from bncore.follow.estimate import duration, time_left
from bntui.live.snapshot import Snapshot, on_synthetic_images
from bntui.widgets import formatting as fmt
from bntui.widgets.line import Segment


def heading(
    snapshot: Snapshot | None,
    tab: str,
    width: int,
    labels: list[str],
    keys: Mapping[str, str],
    *,
    playback: bool = False,
) -> tuple[list[Segment], list[Segment]]:
    """Where one is, and how far everything is; `keys`: of the pages, by their names."""
    left = [Segment(Text("bntui", fmt.MUTED), 8)]
    if snapshot is None:
        return [*left, Segment(Text("opening …"))], []
    left += _names(snapshot)
    left += _tabs(tab, width, keys)
    if on_synthetic_images(snapshot.runs):
        labels = [*labels, "synthetic images"]
    right = [Segment(Text(label, "bold yellow"), 1) for label in labels]
    if snapshot.problem:
        right.append(Segment(Text(snapshot.problem, "red"), 2))
    return left, right + _progress(snapshot, "running" if playback else "live")


def _names(snapshot: Snapshot) -> list[Segment]:
    if len(snapshot.sweeps) != 1:
        return [Segment(Text(f"{len(snapshot.sweeps)} sweeps", fmt.STRONG), 3)]
    sweep = snapshot.sweeps[0]
    parts = [Segment(Text(sweep.name, fmt.STRONG), 3)]
    return parts + ([Segment(Text(f"Fig {sweep.figure}", fmt.MUTED), 6)] if sweep.figure else [])


def _tabs(tab: str, width: int, keys: Mapping[str, str]) -> list[Segment]:
    if width < 100:
        return [Segment(Text(f"{keys.get(tab, '')} {tab}", "reverse"), 2)]
    text = Text()
    for name, key in keys.items():
        said = f" {key} {name} " if width >= 175 or name == tab else f" {key} "
        text.append(" " if width >= 175 and text else "").append(
            said, "reverse" if name == tab else fmt.MUTED
        )
    return [Segment(text, 4)]


def _progress(snapshot: Snapshot, running: str) -> list[Segment]:
    runs = snapshot.runs
    if not runs:
        return [Segment(Text("no runs", fmt.MUTED))]
    state = fmt.state_of_all({view.state for view in runs})
    sign, style = fmt.STATES[state]
    parts = [Segment(Text(f"{sign} {running if state == 'running' else state}", style), 1)]
    if not snapshot.complete:
        parts.insert(0, Segment(Text("reading …", "yellow"), 1))
    there = [view for view in runs if view.state != "gone"]
    total = sum(view.steps for view in there)
    done = sum(min(view.step, view.steps) for view in there)
    left = time_left(runs)
    queued, gone = (sum(view.state == one for view in runs) for one in ("queued", "gone"))
    if total:
        parts.append(Segment(Text(f"{done:,} / {total:,}", fmt.MUTED), 7))
        parts.append(Segment(Text(fmt.percent(done / total)), 0))
    if left is not None:
        parts.append(Segment(Text(f"ETA {duration(left)}"), 3))
    if queued:
        parts.append(Segment(Text(f"{queued} queued", fmt.MUTED), 5))
    if gone and there:
        parts.append(Segment(Text(f"{gone} gone", "red"), 2))
    devices = {view.spec.device for view in there if view.spec}
    return parts + ([Segment(Text(devices.pop(), fmt.MUTED), 6)] if len(devices) == 1 else [])
