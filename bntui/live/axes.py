"""What curves are drawn over: steps, or what a step stands for in its run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from bncore.config.model import GaussianData
from bncore.figure import Curve, Floats
from bncore.follow.run_view import RunView

Axis = Literal["step", "samples", "relative", "minutes"]
AXES: dict[Axis, str] = {
    "step": "step",
    "samples": "samples",
    "relative": "share of run",
    "minutes": "minutes",
}
"""What charts over the steps can be drawn over, and how they call it."""


def at_steps(axis: Axis, view: RunView, steps: Floats) -> Floats:
    """(n,) Where steps of a run are on an axis; NaN where nobody knows."""
    match axis:
        case "step":
            return steps
        case "samples":
            return steps * (_batch(view) or np.nan)
        case "relative":
            return steps / (view.steps or np.nan)
        case "minutes":
            written = view.columns.series("step", "t")
            begun = view.times()[0]
            if begun is None or not len(written):
                return np.full(len(steps), np.nan)
            return (np.interp(steps, written.steps, written.values) - begun) / 60


def on_axis(curve: Curve, runs: Sequence[RunView], axis: Axis) -> Iterator[Curve]:
    """The curve over another axis, of several runs over their mean; nothing of runs that have no place there."""
    if axis == "step":
        yield curve
        return
    places = np.array([at_steps(axis, view, curve.x) for view in runs])
    known = places[np.isfinite(places).all(axis=1)]
    if len(known):
        yield replace(curve, x=known.mean(axis=0))


def _batch(view: RunView) -> int:
    """Samples of a step; 0 where the journal does not tell."""
    spec = view.submitted
    if spec is None:
        return 0
    if spec.batch_size != "full":
        return int(spec.batch_size)
    return spec.data.samples if isinstance(spec.data, GaussianData) else 0
