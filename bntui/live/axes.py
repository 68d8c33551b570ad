"""X axes of curves: steps, or a quantity that a step corresponds to in its run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal
from weakref import WeakKeyDictionary

import numpy as np

from bncore.config.model import GaussianData, Spec
from bncore.figure import Curve, Floats
from bncore.follow.run_view import RunView
from bncore.report.progress import TrainingCurve, training_curve

Axis = Literal["step", "loss", "epochs", "samples", "relative", "minutes"]
AXES: dict[Axis, str] = {
    "step": "step",
    "loss": "training loss",
    "epochs": "epochs",
    "samples": "samples",
    "relative": "share of run",
    "minutes": "minutes",
}
"""Available x axes of charts over steps, with their names."""
TRAINING_IMAGES = {"cifar10": 50_000, "synthetic": 10_000}
"""Number of training images by source, for runs whose journals do not record it."""
_PROGRESS: WeakKeyDictionary[RunView, TrainingCurve | None] = WeakKeyDictionary()


def at_steps(axis: Axis, view: RunView, steps: Floats) -> Floats:
    """(n,) Positions of a run's steps on an axis; NaN where unknown.

    An epoch has as many steps as the training set has whole batches. On the training loss axis, for comparisons at
    equal progress, the position of a step is minus the decimal logarithm of the lowest value so far of the run's
    loss, averaged over 1 % of the run to either side (`bncore.report.progress`). So time runs to the right, and
    while the loss rises, a curve goes straight up or down.
    """
    match axis:
        case "step":
            return steps
        case "epochs":
            batch = _batch(view)
            return steps / (_samples(view) // batch or np.nan if batch else np.nan)
        case "samples":
            return steps * (_batch(view) or np.nan)
        case "relative":
            return steps / (view.steps or np.nan)
        case "minutes":
            written = view.columns.series("step", "t")
            started = view.times()[0]
            if started is None or not len(written):
                return np.full(len(steps), np.nan)
            return (np.interp(steps, written.steps, written.values) - started) / 60
        case "loss":
            progress = _progress(view)
            if progress is None:
                return np.full(len(steps), np.nan)
            with np.errstate(divide="ignore", invalid="ignore"):
                return -np.log10(progress.at(steps))


def on_axis(curve: Curve, runs: Sequence[RunView], axis: Axis) -> Iterator[Curve]:
    """The curve over another axis, at the mean position of several runs; runs without positions are ignored, and
    nothing is drawn if none has any."""
    if axis == "step":
        yield curve
        return
    places = np.array([at_steps(axis, view, curve.x) for view in runs])
    finite = places[np.isfinite(places).all(axis=1)]
    if len(finite):
        yield replace(curve, x=finite.mean(axis=0))


def unplaced(views: Sequence[RunView], axis: Axis) -> str:
    """``epochs: not known of 2 of 6 runs``, counting runs that have begun; empty if it is known of all."""
    started_runs = [view for view in views if view.columns.last_step("step") is not None]
    first = np.zeros(1)
    missing = sum(not np.isfinite(at_steps(axis, view, first)).all() for view in started_runs)
    of = f"{missing} of {len(started_runs)}" if missing < len(started_runs) else "any of these"
    return f"{AXES[axis]}: not known of {of} runs" if missing else ""


def _batch(view: RunView) -> int:
    """Samples per step; 0 if unknown."""
    spec = view.submitted
    if spec is None:
        return 0
    return _samples(view) if spec.batch_size == "full" else int(spec.batch_size)


def _samples(view: RunView) -> int:
    """Size of the training set from the journal, else from the settings; 0 if unknown."""
    samples = view.columns.start.get("train_samples")
    return samples if isinstance(samples, int) else _in_settings(view.submitted)


def _in_settings(spec: Spec | None) -> int:
    if spec is None:
        return 0
    if isinstance(spec.data, GaussianData):
        return spec.data.samples
    return TRAINING_IMAGES.get(spec.data.source, 0)


def _progress(view: RunView) -> TrainingCurve | None:
    """The run's training curve, cached; None if no loss was journaled."""
    if view not in _PROGRESS:
        curve = training_curve(view.columns, view.steps or view.step)
        _PROGRESS[view] = curve if curve is not None and curve.of == "loss" else None
    return _PROGRESS[view]
