"""The paper's own curves (`bncore.report.paper`), drawn faintly beside a run's."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bncore.config.errors import escape_control
from bncore.figure import Curve
from bncore.follow.run_view import RunView
from bncore.report.paper import VARIANTS, PaperCurve, reference
from bntui.live.drawing import PanelState


def overlay(
    key: str, views: Sequence[RunView], state: PanelState, layer: int | None = None
) -> tuple[Curve, ...]:
    """The paper's curves as a chart draws them: faint, in the colour of the run that each is beside, and in
    others' colours where there is no such run. None where they are not wanted."""
    if state.reference is None or not views:
        return ()
    found = reference(key, state.figure, folder=state.reference, layer=layer, step=state.step)
    free = max(view.style for view in views) + 1
    end = math.inf if key.endswith("by_length") else max(view.steps for view in views)
    curves = []
    for curve in found:
        style = _style(curve, views)
        if style is None:
            style, free = free, free + 1
        name = escape_control(f"paper: {curve.legend}{f', {curve.setting}' if curve.setting else ''}")
        n = int(np.searchsorted(curve.x, end, side="right"))  # no further than the runs will come
        low = curve.low[:n]
        high = low if curve.high is curve.low else curve.high[:n]
        curves.append(Curve(name, style, curve.x[:n], low, high, weight="faint"))
    return tuple(curves)


def _style(curve: PaperCurve, views: Sequence[RunView]) -> int | None:
    """Of the first run with the curve's norm, noise and, where the legend names it, learning rate."""
    norm = VARIANTS.get(curve.legend)
    for view in views:
        spec = view.submitted
        if spec is None or (spec.norm.kind, spec.noise.on) != norm:
            continue
        if curve.rate in (None, spec.optim.lr):
            return view.style
    return None
