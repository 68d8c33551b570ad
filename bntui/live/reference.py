"""The paper's own curves, to be drawn faintly beside a run's (read off the figures of Santurkar et al., 2018)."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from bncore.spec.errors import printable
from bntui.chart.data import Curve, Floats
from bntui.live.drawing import PanelState
from bntui.live.runs import RunView


@dataclass(frozen=True)
class PaperFile:
    """A CSV file of the reference folder, and what is in it."""

    stem: str
    layer: int | None = None
    scale: float = 1.0
    """To the unit in which runs are measured: accuracies are percentages there."""
    label: str = ""
    """What tells it from another file of the same panel."""


def _drifts(kind: str, suffix: str) -> tuple[PaperFile, ...]:
    return tuple(PaperFile(f"fig08{suffix}_vgg_layer{n}_{kind}", n) for n in (2, 9, 13))


FILES: dict[tuple[str, str], tuple[PaperFile, ...]] = {
    ("accuracy", "1"): (PaperFile("fig01a_vgg_train_acc", scale=0.01),),
    ("test_accuracy", "1"): (PaperFile("fig01b_vgg_test_acc", scale=0.01),),
    ("accuracy", "2"): (PaperFile("fig02_vgg_train_acc_noisybn", scale=0.01),),
    ("accuracy", "3a"): (
        PaperFile("fig03a_vgg_lr0.1_train_acc", scale=0.01, label="lr 0.1"),
        PaperFile("fig03a_vgg_lr0.01_train_acc", scale=0.01, label="lr 0.01"),
    ),
    ("ics_l2", "3a"): (
        PaperFile("fig03a_vgg_lr0.1_layer5_l2", 5, label="lr 0.1"),
        PaperFile("fig03a_vgg_lr0.01_layer5_l2", 5, label="lr 0.01"),
    ),
    ("ics_cosine", "3a"): (
        PaperFile("fig03a_vgg_lr0.1_layer5_cos", 5, label="lr 0.1"),
        PaperFile("fig03a_vgg_lr0.01_layer5_cos", 5, label="lr 0.01"),
        PaperFile("fig03a_vgg_lr0.1_layer10_cos", 10, label="lr 0.1"),
        PaperFile("fig03a_vgg_lr0.01_layer10_cos", 10, label="lr 0.01"),
    ),
    ("loss", "3b"): (PaperFile("fig03b_dln_lr1e-6_train_loss"),),
    ("ics_l2", "3b"): (PaperFile("fig03b_dln_lr1e-6_layer9_l2", 9),),
    ("ics_cosine", "3b"): (
        PaperFile("fig03b_dln_lr1e-6_layer9_cos", 9),
        PaperFile("fig03b_dln_lr1e-6_layer17_cos", 17),
    ),
    ("loss_band", "4"): (PaperFile("fig04a_vgg_loss_landscape"),),
    ("gradient_predictiveness", "4"): (PaperFile("fig04b_vgg_grad_predictiveness"),),
    ("beta", "4"): (PaperFile("fig04c_vgg_beta_smoothness"),),
    ("accuracy", "5a"): (PaperFile("fig05a_vgg_train_acc_lp", scale=0.01),),
    ("loss", "5b"): (PaperFile("fig05b_dln_train_loss"),),
    ("mean_step", "8"): _drifts("dmean_step", "a"),
    ("variance_step", "8"): _drifts("dvar_step", "a"),
    ("mean_drift", "8"): _drifts("dmean_from0", "b"),
    ("variance_drift", "8"): _drifts("dvar_from0", "b"),
    ("loss_band", "10"): (PaperFile("fig10a_dln_loss_landscape"),),
    ("gradient_predictiveness", "10"): (PaperFile("fig10b_dln_grad_predictiveness"),),
    ("beta", "10"): (PaperFile("fig10c_dln_beta_smoothness"),),
    ("difference_by_length", "11a"): (
        PaperFile("fig11a_vgg_graddiff_vs_stepsize_standard"),
        PaperFile("fig11a_vgg_graddiff_vs_stepsize_batchnorm"),
    ),
    ("difference_by_length", "11b"): (
        PaperFile("fig11b_dln_graddiff_vs_stepsize_standard"),
        PaperFile("fig11b_dln_graddiff_vs_stepsize_batchnorm"),
    ),
}
"""By panel and figure of the paper."""

VARIANTS: dict[str, tuple[str, bool]] = {
    "Standard": ("none", False),
    "Standard + BatchNorm": ("batch", False),
    "Standard + Noisy BatchNorm": ("batch", True),
    "Standard + L1": ("l1", False),
    "Standard + L2": ("l2", False),
    "Standard + Linf": ("linf", False),
}
"""The paper's legend as norm and noise, to find the run that a curve is beside."""


@dataclass(frozen=True)
class PaperCurve:
    """One curve of the paper."""

    legend: str
    """Such as ``Standard + BatchNorm``."""
    setting: str
    """Such as ``LR=0.5`` or ``step=100``; empty where the legend names none."""
    x: Floats
    low: Floats
    high: Floats  # `low` itself for a line


def reference(
    key: str, figure: str, *, folder: Path, layer: int | None = None, step: float | None = None
) -> tuple[PaperCurve, ...]:
    """The paper's curves for a panel; none where it has none, or the folder lacks the file.

    Arguments:
        key: of the panel.
        figure: as presets name it, such as ``4, 11a``.
        folder: of the CSV files.
        layer: of a panel with a value for each layer.
        step: of a panel that shows one measurement; the nearest the paper has; None: its last.
    """
    files = [
        file
        for part in figure.split(",")
        for file in FILES.get((key, part.strip()), ())
        if file.layer in (None, layer)
    ]
    curves = [curve for file in files for curve in _read(folder, file)]
    at = {curve.setting: _number(curve.setting) for curve in curves if curve.setting.startswith("step=")}
    if at:
        wanted = max(at.values()) if step is None else min(at.values(), key=lambda one: abs(one - step))
        curves = [curve for curve in curves if at.get(curve.setting) == wanted]
    return tuple(curves)


def overlay(
    key: str, views: Sequence[RunView], state: PanelState, layer: int | None = None
) -> tuple[Curve, ...]:
    """The paper's curves as a chart draws them: faint, in the colour of the run that each is beside, and in
    others' colours where there is no such run. None where they are not asked for."""
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
        name = printable(f"paper: {curve.legend}{f', {curve.setting}' if curve.setting else ''}")
        n = int(np.searchsorted(curve.x, end, side="right"))  # no further than the runs will come
        low = curve.low[:n]
        high = low if curve.high is curve.low else curve.high[:n]
        curves.append(Curve(name, style, curve.x[:n], low, high, faint=True))
    return tuple(curves)


def _style(curve: PaperCurve, views: Sequence[RunView]) -> int | None:
    """Of the first run with the curve's norm, noise and, where the legend names it, learning rate."""
    norm = VARIANTS.get(curve.legend)
    rate = _number(curve.setting) if curve.setting.lower().startswith("lr") else None
    for view in views:
        spec = view.settled
        if spec is not None and (spec.norm.kind, spec.noise.on) == norm and rate in (None, spec.optim.lr):
            return view.style
    return None


@cache
def _read(folder: Path, file: PaperFile) -> tuple[PaperCurve, ...]:
    points: dict[str, list[tuple[float, float, float]]] = {}
    try:
        with (folder / f"{file.stem}.csv").open(newline="") as lines:
            for row in csv.DictReader(lines):
                low, high = row.get("y_low") or row["y"], row.get("y_high") or row["y"]
                y = (float(low) * file.scale, float(high) * file.scale)
                points.setdefault(row["series"], []).append((float(row["x"]), *y))
    except (OSError, KeyError, TypeError, ValueError):  # absent, or not such a file
        return ()
    return tuple(_curve(series, rows, file) for series, rows in points.items())


def _curve(series: str, points: list[tuple[float, float, float]], file: PaperFile) -> PaperCurve:
    legend, _, setting = (part.strip() for part in series.partition(","))
    x, low, high = np.array(sorted(points)).T
    line = bool((low == high).all())
    return PaperCurve(legend, setting or file.label, x, low, low if line else high)


def _number(setting: str) -> float:
    """The number in ``LR=0.5``, ``lr 0.1`` or ``step=100``; NaN where there is none."""
    try:
        return float(setting.replace("=", " ").split()[-1])
    except (ValueError, IndexError):
        return math.nan
