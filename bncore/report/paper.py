"""The paper's own curves, read off the figures of Santurkar et al. (2018), with the caveats of comparing them."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from bncore.figure import Curve, Floats, Weight
from bncore.report.report_run import Variant

FOLDER = Path(__file__).parent / "reference"
"""Folder of the CSV files; its README states their origin."""


@dataclass(frozen=True)
class PaperFile:
    """A CSV file of the reference folder, and its contents."""

    stem: str
    layer: int | None = None
    scale: float = 1.0
    """Factor to the unit of our runs: the paper's accuracies are percentages."""
    label: str = ""
    """Label that distinguishes it from other files of the same panel."""


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
"""CSV files by panel key and figure of the paper."""

VARIANTS: dict[str, tuple[str, bool]] = {
    "Standard": ("none", False),
    "Standard + BatchNorm": ("batch", False),
    "Standard + Noisy BatchNorm": ("batch", True),
    "Standard + L1": ("l1", False),
    "Standard + L2": ("l2", False),
    "Standard + Linf": ("linf", False),
}
"""Norm and noise of each entry in the paper's legends, to find the runs that match a curve."""

RATES: dict[str, float] = {
    "2": 0.1, "4": 0.1, "5a": 0.1, "5b": 1e-6, "8": 0.1, "10": 1e-6, "11a": 0.1, "11b": 1e-6,
}  # fmt: skip
"""Learning rates of the figures whose legends name none: for the VGG from the text, for the linear network derived
from β = 2/lr and the step lengths."""

LOGARITHMIC: frozenset[tuple[str, str]] = frozenset(
    {("loss", "3b"), ("loss", "5b"), ("ics_l2", "3a"), ("ics_l2", "3b"), ("loss_band", "10"), ("beta", "10")}
    | {("gradient_predictiveness", "4"), ("gradient_predictiveness", "10")}
    | {("difference_by_length", "11a"), ("difference_by_length", "11b")}
)
"""Panels with a logarithmic y axis in the paper; between samples they are interpolated in the logarithm."""

ONE_SEED = (
    "The paper's curves are one seed each, read off its figures: compare shapes, orders of magnitude, "
    "crossings and plateaus, never digits."
)
"""Applies to every figure."""

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
"""Caveats by figure, shown beside the picture."""


@dataclass(frozen=True)
class PaperCurve:
    """One curve of the paper."""

    legend: str
    """Legend entry, such as ``Standard + BatchNorm``."""
    setting: str
    """Setting named in the legend, such as ``LR=0.5`` or ``step=100``, or else the file's label."""
    x: Floats
    low: Floats
    high: Floats  # `low` itself for a line
    axis: tuple[float, float] = (0.0, 0.0)
    """Least and greatest value in its file; the curve's precision is a share of their distance."""

    def drawn(self, style: int, weight: Weight, end: float) -> Curve:
        """The curve as a chart draws it, up to step `end`; its label begins with ``paper:``."""
        n = int(np.searchsorted(self.x, end, side="right"))
        label = f"paper: {self.legend}{f', {self.setting}' if self.setting else ''}"
        return Curve(label, style, self.x, self.low, self.high, weight=weight).part(slice(n))

    def variant(self, figure: str) -> Variant:
        """The variant that it shows in a figure."""
        norm, noisy = VARIANTS[self.legend]
        return Variant(norm, "noise" if noisy else "", self.rate or RATES[figure])

    def shows(self, norm: str, lr: float, *, noisy: bool) -> bool:
        """Whether it is of such a network, as far as its legend says."""
        return VARIANTS.get(self.legend) == (norm, noisy) and self.rate in (None, lr)

    @property
    def number(self) -> float:
        """The number in the setting, or NaN."""
        return number_in(self.setting)

    @property
    def rate(self) -> float | None:
        """The learning rate that the setting names, or None."""
        return self.number if self.setting.lower().startswith("lr") else None


def reference(
    key: str, figure: str, *, folder: Path = FOLDER, layer: int | None = None, step: float | None = None
) -> tuple[PaperCurve, ...]:
    """The paper's curves for a panel; empty if the paper has none or the folder lacks the file.

    Arguments:
        key: key of the panel.
        figure: figure as presets name it, such as ``4, 11a``.
        folder: folder of the CSV files.
        layer: layer number, for a per-layer panel.
        step: step of the measurement, for a panel whose curves show one measurement each: the paper's nearest
            step is used. None: its last.
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
    """Like `reference`, but with every measurement of a panel whose curves show one measurement each."""
    files = [
        file
        for part in figure.split(",")
        for file in FILES.get((key, part.strip()), ())
        if file.layer in (None, layer)
    ]
    return tuple(curve for file in files for curve in _read(folder, file))


def number_in(setting: str) -> float:
    """The number in ``LR=0.5``, ``step=100`` or ``step 1,000``; NaN if there is none."""
    try:
        return float(setting.replace("=", " ").replace(",", "").split()[-1])
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
    except (OSError, KeyError, TypeError, ValueError):  # missing or malformed file
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
