"""Comparison with a reference run: each panel's curves minus those of the reference."""

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
    """A panel's chart as differences from the run `against`, at common steps, without interpolation.

    Grouped runs are each compared with the run of the same seed in the group of `against`, and the mean of the
    differences is drawn. The reference itself is not drawn, but its marks are. For bands, lower edges are compared
    with lower edges and upper with upper. Failed runs are not used as a reference.
    """
    alone = replace(state, reference=None, grouping=None)  # the paper's curves belong to no run
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
    """Each run's curve minus the reference's, without the reference itself."""
    base = _joined(panel.make([against], state).curves)
    for view in views:
        if base is not None and view is not against:
            for curve in panel.make([view], state).curves:
                minus = _minus(curve, base)
                if minus is not None:
                    yield minus


def _paired(panel: Panel, group: Group, reference: Group, band: Band, state: PanelState) -> Iterator[Curve]:
    """Mean and band of the differences, seed by seed, over the seeds common to both groups."""
    theirs = {view.seed: view for view in reference.runs if view.state not in FAILED}
    pairs = [
        (view, theirs[view.seed]) for view in group.runs if view.seed in theirs and view.state not in FAILED
    ]
    differences = [
        (curve, is_going(view) or is_going(base))
        for view, base in pairs
        if (curve := _joined(list(_differences(panel, [view], base, state)))) is not None
    ]
    if not differences:
        return
    low = aggregate([Member(curve.x, curve.low, ended=not going) for curve, going in differences], band)
    label = f"{group.name} ×{len(differences)}"
    if not all(curve.is_line for curve, _ in differences):
        high = aggregate([Member(curve.x, curve.high, ended=not going) for curve, going in differences], band)
        yield Curve(label, group.style, low.x, low.mean, high.mean)
        return
    if len(differences) > 1:
        yield Curve(f"{label}, {BANDS[band]}", group.style, low.x, low.low, low.high, weight="spread")
    yield Curve(label, group.style, low.x, low.mean, low.mean)


def _joined(curves: Sequence[Curve]) -> Curve | None:
    """A run's curve; a fork's is preceded by its parent's."""
    if not curves:
        return None
    x, low, high = (np.concatenate([getattr(c, part) for c in curves]) for part in ("x", "low", "high"))
    high = low if all(curve.is_line for curve in curves) else high
    return Curve(curves[-1].label, curves[-1].style, x, low, high)


def _minus(curve: Curve, base: Curve) -> Curve | None:
    """The difference of two curves at their common steps; NaN where it is not finite."""
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
