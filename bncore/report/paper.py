"""The paper's own curves, read off the figures of Santurkar et al. (2018), and what to know before comparing."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from bncore.figure import Floats

FOLDER = Path(__file__).parent / "reference"
"""Where the CSV files lie; its README says where they come from."""


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
    ("loss", "3b"): (PaperFile("fig03b_dln_lr1e-6_train_loss", label="lr 1e-6"),),
    ("ics_l2", "3b"): (PaperFile("fig03b_dln_lr1e-6_layer9_l2", 9, label="lr 1e-6"),),
    ("ics_cosine", "3b"): (
        PaperFile("fig03b_dln_lr1e-6_layer9_cos", 9, label="lr 1e-6"),
        PaperFile("fig03b_dln_lr1e-6_layer17_cos", 17, label="lr 1e-6"),
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

RATES: dict[str, float] = {
    "2": 0.1, "4": 0.1, "5a": 0.1, "5b": 1e-6, "8": 0.1, "10": 1e-6, "11a": 0.1, "11b": 1e-6,
}  # fmt: skip
"""Learning rates of the figures whose legends name none: of the VGG the text's, of the linear network the one that
β = 2/lr and the step lengths give."""

LOGARITHMIC: frozenset[tuple[str, str]] = frozenset(
    {("loss", "3b"), ("loss", "5b"), ("ics_l2", "3a"), ("ics_l2", "3b"), ("loss_band", "10"), ("beta", "10")}
    | {("gradient_predictiveness", "4"), ("gradient_predictiveness", "10")}
    | {("difference_by_length", "11a"), ("difference_by_length", "11b")}
)
"""Panels whose y axis is logarithmic in the paper: between its samples they are read there."""

ONE_SEED = (
    "The paper's curves are one seed each, read off its figures: compare shapes, orders of magnitude, "
    "crossings and plateaus, never digits."
)
"""Holds of every figure."""

_SINGLE_BATCH = "The paper's training accuracies are those of single batches of 128, every 100 steps."
_PENALTY = (
    "The paper's VGG losses include a weight penalty: they start at 4.28 where ln 10 is 2.30. Of runs without "
    "probes.landscape.penalty the data loss alone is drawn, and ranked with the penalty added."
)
_SUMMED = (
    "The paper's difference of gradients is the sum over the parameters of the lengths of their differences, not "
    "the length of the whole difference [inferred: the latter is 3 to 8 times smaller in every network]."
)
_BETA = (
    "Late in training β reflects 2/lr (the edge of stability) or 1/a_min (the shortest step of the probe): it "
    "distinguishes networks only early and in its spikes. ‖Δg‖/‖g‖ has neither defect."
)

CAVEATS: dict[str, tuple[str, ...]] = {
    "1": (_SINGLE_BATCH, "The paper's test curve is drawn at every 1,000 steps."),
    "2": (_SINGLE_BATCH, "The same noise is absolute: it disturbs a network with small activations more."),
    "3a": (
        _SINGLE_BATCH,
        "At lr 0.1 the paper shows another run than in its Figs 1, 2 and 5.",
        "The paper's l2 panel of layer 10 carries no tick labels, so it has no curve here.",
        "The l2 difference grows with the size of the update; the cosine does not.",
    ),
    "3b": (
        "“Almost no ICS in the plain network” holds at lr 1e-7 only: at 1e-6 the paper's own layer-17 cosine "
        "is about −0.98. Its panels at lr 1e-7, and its l2 panel of layer 17, have no curves here.",
        "The l2 difference grows with the size of the update; the cosine does not.",
    ),
    "4": (_PENALTY, _SUMMED, f"{_BETA} At the paper's lr 0.1 both lines are 20."),
    "5a": (_SINGLE_BATCH,),
    "5b": (
        "With inputs of zero mean l2 coincides with BatchNorm here, up to rounding: a deep linear network "
        "cannot distinguish them.",
    ),
    "8": (
        "The paper's “successive steps” are 100 steps apart, and it shows one unit a layer; so do the runs, "
        "at their own distance between measurements.",
    ),
    "10": (_SUMMED, _BETA),
    "11a": (
        _SUMMED,
        "Each line is the measurement at one step, darker ones later; the paper's nearest is beside it.",
    ),
    "11b": (
        _SUMMED,
        "Each line is the measurement at one step, darker ones later; the paper's nearest is beside it.",
        "The legend of the paper's Fig 11b is wrong: its lines are steps 50, 200, …, 7500.",
    ),
    "12": (_PENALTY, _SUMMED, _BETA),
    "13": (_SUMMED, _BETA),
}  # fmt: skip
"""What to know before comparing, by figure; shown beside the picture."""


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
    axis: tuple[float, float] = (0.0, 0.0)
    """The least and the greatest value of its file: it is known no better than to a share of their distance."""

    @property
    def number(self) -> float:
        """The number in the setting, NaN where there is none."""
        return number_in(self.setting)

    @property
    def rate(self) -> float | None:
        """The learning rate, where the setting names one."""
        return self.number if self.setting.lower().startswith("lr") else None


def reference(
    key: str, figure: str, *, folder: Path = FOLDER, layer: int | None = None, step: float | None = None
) -> tuple[PaperCurve, ...]:
    """The paper's curves for a panel; none where it has none, or the folder lacks the file.

    Arguments:
        key: of the panel.
        figure: as presets name it, such as ``4, 11a``.
        folder: of the CSV files.
        layer: of a panel with a value for each layer.
        step: of a panel that shows one measurement; the nearest the paper has; None: its last.
    """
    curves = all_curves(key, figure, folder=folder, layer=layer)
    at = {curve.setting: curve.number for curve in curves if curve.setting.startswith("step=")}
    if at:
        wanted = max(at.values()) if step is None else min(at.values(), key=lambda one: abs(one - step))
        curves = tuple(curve for curve in curves if at.get(curve.setting) == wanted)
    return curves


def all_curves(
    key: str, figure: str, *, folder: Path = FOLDER, layer: int | None = None
) -> tuple[PaperCurve, ...]:
    """As `reference`, of a panel that shows single measurements: all of them."""
    files = [
        file
        for part in figure.split(",")
        for file in FILES.get((key, part.strip()), ())
        if file.layer in (None, layer)
    ]
    return tuple(curve for file in files for curve in _read(folder, file))


def number_in(setting: str) -> float:
    """The number in ``LR=0.5``, ``lr 0.1`` or ``step=100``; NaN where there is none."""
    try:
        return float(setting.replace("=", " ").split()[-1])
    except (ValueError, IndexError):
        return math.nan


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
    values = [value for rows in points.values() for row in rows for value in row[1:]]
    axis = (min(values, default=0.0), max(values, default=0.0))
    return tuple(_curve(series, rows, file, axis) for series, rows in points.items())


def _curve(
    series: str, points: list[tuple[float, float, float]], file: PaperFile, axis: tuple[float, float]
) -> PaperCurve:
    legend, _, setting = (part.strip() for part in series.partition(","))
    x, low, high = np.array(sorted(points)).T
    line = bool((low == high).all())
    return PaperCurve(legend, setting or file.label, x, low, low if line else high, axis)
