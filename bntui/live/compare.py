"""Runs against one of them: what each panel shows, minus what it shows for the reference run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from bncore.aggregate import BANDS, Member, aggregate
from bncore.config.measure import Band
from bncore.figure import ChartData, Curve, Floats
from bncore.follow.groups import Group, is_going
from bncore.follow.run_view import RunView
from bntui.live.drawing import FAILED, PanelState, chosen_layer
from bntui.live.panels import Panel


def difference(panel: Panel, views: Sequence[RunView], against: RunView, state: PanelState) -> ChartData:
    """A panel's chart as differences to the run `against`, at the steps that both have: nothing is interpolated.

    Of grouped runs each is compared with the run of its own seed in the group of `against`, and the mean of the
    differences is drawn. The reference itself is not drawn; its marks are. Of bands the lower edges are compared,
    and the upper ones. No run is compared with one that failed.
    """
    alone = replace(state, reference=None, grouping=None)  # a curve of the paper is nobody's to subtract
    if panel.measure.per_layer:
        alone = replace(alone, layer=chosen_layer(views, panel.measure, state))
    chart = panel.make(views, alone)
    groups = state.grouping.groups([against, *views]) if state.grouping else ()
    reference = next((group for group in groups if against in group.runs), None)
    curves: tuple[Curve, ...] = ()
    if against.state in FAILED and reference is None:
        note = f"{against.name} {against.state}: r takes the selected run as the reference"
    elif state.grouping is None or reference is None:
        curves = tuple(_differences(panel, views, against, alone))
        note = f"no step in common with {against.name}" if chart.curves and not curves else chart.note
    else:
        others = [group for group in groups if group is not reference]
        curves = tuple(
            c for one in others for c in _paired(panel, one, reference, state.grouping.band, alone)
        )
        note = f"no seed in common with {reference.name}" if chart.curves and not curves else chart.note
    title = f"{chart.title}, minus {against.name if reference is None else reference.name}"
    return ChartData(title, curves, chart.vlines, log_x=chart.log_x, x_name=chart.x_name, note=note)


def _differences(
    panel: Panel, views: Sequence[RunView], against: RunView, state: PanelState
) -> Iterator[Curve]:
    """Each run's curve minus that of the reference, which is left out."""
    base = _joined(panel.make([against], state).curves)
    for view in views:
        if base is not None and view is not against:
            for curve in panel.make([view], state).curves:
                found = _minus(curve, base)
                if found is not None:
                    yield found


def _paired(panel: Panel, group: Group, reference: Group, band: Band, state: PanelState) -> Iterator[Curve]:
    """The mean over the seeds of both groups of the differences, seed by seed, and its band."""
    theirs = {view.seed: view for view in reference.runs if view.state not in FAILED}
    pairs = [
        (view, theirs[view.seed]) for view in group.runs if view.seed in theirs and view.state not in FAILED
    ]
    found = [
        (curve, is_going(view) or is_going(base))
        for view, base in pairs
        if (curve := _joined(list(_differences(panel, [view], base, state)))) is not None
    ]
    if not found:
        return
    low = aggregate([Member(curve.x, curve.low, ended=not going) for curve, going in found], band)
    label = f"{group.name} ×{len(found)}"
    if not all(curve.is_line for curve, _ in found):
        high = aggregate([Member(curve.x, curve.high, ended=not going) for curve, going in found], band)
        yield Curve(label, group.style, low.x, low.mean, high.mean)
        return
    if len(found) > 1:
        yield Curve(f"{label}, {BANDS[band]}", group.style, low.x, low.low, low.high, weight="spread")
    yield Curve(label, group.style, low.x, low.mean, low.mean)


def _joined(curves: Sequence[Curve]) -> Curve | None:
    """A run's curve with, of a fork, its parent's before it."""
    if not curves:
        return None
    x, low, high = (np.concatenate([getattr(c, part) for c in curves]) for part in ("x", "low", "high"))
    high = low if all(curve.is_line for curve in curves) else high
    return Curve(curves[-1].label, curves[-1].style, x, low, high)


def _minus(curve: Curve, base: Curve) -> Curve | None:
    """The difference of two curves at their common steps; NaN where either is not finite."""
    _, mine, theirs = np.intersect1d(curve.x, base.x, return_indices=True)
    if not len(mine):
        return None
    low = _finite(curve.low[mine], base.low[theirs])
    if curve.is_line:
        return replace(curve, x=curve.x[mine], low=low, high=low, floor=None)
    high = _finite(curve.high[mine], base.high[theirs])
    low, high = np.minimum(low, high), np.maximum(low, high)
    return replace(curve, x=curve.x[mine], low=low, high=high, floor=None)


def _finite(mine: Floats, theirs: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        gap = mine - theirs
    return np.where(np.isfinite(gap), gap, np.nan)
