"""Align the paper's curves with our seeds of the same variants, so that the curves can be ranked among them.

- Curves are compared only at the paper's own sample steps (every 50, 100 or 1,000 steps): between samples, a
  plotted line is smoother than real measurements. Samples missing from the drawing are read off the line, on
  the axis the paper uses.
- Training accuracies are those of single batches, in the paper and here. Ours are taken at the paper's sample
  steps, and both are averaged over the same `WINDOW` of samples to either side.
- The paper's VGG losses include a weight penalty. Where our losses cover the data alone, the penalty at the
  same step is added; it hardly changes along the line. The loss of runs without a penalty is not ranked.
- Changes of a unit's statistics are taken between measurements as far apart as the paper's. Each seed has its
  own unit, as in the paper.
- A variant matches the paper's if its norm, noise (Algorithm 1 with the paper's constants) and learning rate
  match. Only seeds that are evidence are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bncore.config.measure import Measure
from bncore.figure import Floats, drawable, values_at
from bncore.report.comparison_group import BySeed, FigureRuns
from bncore.report.paper import LOGARITHMIC, PaperCurve, all_curves
from bncore.report.quantities import as_in_the_paper, rows
from bncore.report.rank import Aligned, PaperRank, as_far, looks, smoothed, spacing
from bncore.report.report_run import ReportRun, Variant
from bncore.report.series import DrawnMeasure, Line, at_lengths, line_of

PRECISION = 1e-3
"""Precision of the paper's values, as a share of the panel's axis: plotting dropped points of long lines that lie
within this distance of the remaining line."""
WINDOW = 2
"""Samples to either side over which noisy values are averaged."""
NOISY = frozenset({"accuracy"})
"""Panels whose values come from single batches."""
SAME_LENGTH = 0.01
"""Relative difference up to which two step lengths count as equal."""
NO_PENALTY = "no rank: the paper's loss includes a weight penalty, that of these runs has none"
NO_STEP = "no rank: nothing was measured at a sample of the paper's"
ONE_SEED = "no rank: one seed"


@dataclass(frozen=True)
class Beside:
    """One of the paper's curves and its rank among our seeds."""

    variant: Variant
    rank: PaperRank
    aligned: Aligned | None
    """Unsmoothed values at all common samples; None if there are no common samples or only one seed."""


def beside(shown: FigureRuns, panel: str, drawn: DrawnMeasure) -> Iterator[Beside]:
    """Rank the paper's curves of a panel over steps, for every variant that was run and measured.

    Arguments:
        panel: title of the panel.
        drawn: the measure, with the paper's layer if the measure is per layer.
    """
    key, log = drawn.measure.key, (drawn.measure.key, shown.figure) in LOGARITHMIC
    for curve in all_curves(key, shown.figure, layer=drawn.layer):
        variant = curve.variant(shown.figure)
        seeds = _counted(shown.runs.get(variant, {}), drawn.measure.table)
        grid = spacing(curve.x)
        lines = [(run, line) for run in seeds if (line := _line(run, drawn, grid)) is not None]
        if not lines:
            continue
        measured = [run for run, _ in lines]
        if key == "loss_band" and shown.setting.network == "vgg":
            lines = [(run, moved) for run, line in lines if (moved := _with_penalty(run, line)) is not None]
        aligned = align(curve, [line for _, line in lines], grid, log=log) if lines else NO_PENALTY
        name = f"{curve.legend}, {curve.setting}" if curve.setting else curve.legend
        seeds, half = [run for run, _ in lines] or measured, WINDOW if key in NOISY else 0
        yield _beside(shown, panel, variant, name, aligned or NO_STEP, seeds=seeds, half=half)


def beside_by_length(shown: FigureRuns, measure: Measure) -> Iterator[Beside]:
    """Rank the paper's curves of a panel over step lengths, for every variant: at the paper's steps that our runs
    measured, for the step lengths common to both."""
    by_legend: dict[str, list[PaperCurve]] = {}
    for curve in all_curves(measure.key, shown.figure):
        by_legend.setdefault(curve.legend, []).append(curve)
    for legend, curves in by_legend.items():
        variant = curves[0].variant(shown.figure)
        seeds = _counted(shown.runs.get(variant, {}), measure.table)
        lines = [(run, line) for run in seeds if (line := _by_length(run, measure.field))]
        if lines:
            aligned = align_lengths(curves, [line for _, line in lines])
            seeds = [run for run, _ in lines]
            yield _beside(shown, measure.title, variant, legend, aligned or NO_STEP, seeds=seeds)


def align(curve: PaperCurve, lines: Sequence[Line], grid: float, *, log: bool) -> Aligned | None:
    """One of the paper's curves and our seeds' lines, at the paper's samples that at least half of the seeds
    measured; None if there is no such sample.

    Arguments:
        grid: steps between the paper's samples.
        log: whether values are compared as logarithms.
    """
    steps, counts = np.unique(np.concatenate([line[0] for line in lines]), return_counts=True)
    shared = (steps >= curve.x[0]) & (steps <= curve.x[-1]) & (2 * counts >= len(lines))
    steps = steps[shared & _on_grid(steps, grid)]
    if not len(steps):
        return None
    is_line = curve.high is curve.low
    ours, paper = [], []
    for edge in (1,) if is_line else (1, 2):
        ours.append([_at(steps, line[0], line[edge], log=log) for line in lines])
        theirs = curve.low if edge == 1 else curve.high
        paper.append(np.interp(steps, curve.x, _plotted(theirs, log=log)))
    edges = ("",) if is_line else ("lower edge", "upper edge")
    return Aligned(steps, np.array(paper), np.array(ours), edges, _tolerance(curve, log=log), log)


def align_lengths(
    curves: Sequence[PaperCurve], seeds: Sequence[dict[float, tuple[Floats, Floats]]]
) -> Aligned | None:
    """The paper's curves over step lengths (one curve per step) and our seeds', as logarithms, at the steps that
    at least half of the seeds measured; None if there is no such step or no common step length.

    Arguments:
        seeds: for each seed, step lengths and values by step.
    """
    theirs = {curve.number: curve for curve in curves}
    steps = [step for step in sorted(theirs) if 2 * sum(step in one for one in seeds) >= len(seeds)]
    lengths = [
        length
        for length in (curves[0].x.tolist() if steps else [])
        if any(_value(one.get(step), length) is not None for one in seeds for step in steps[:1])
    ]
    if not lengths:
        return None
    paper = [[_value((theirs[step].x, theirs[step].low), length) for step in steps] for length in lengths]
    ours = [[[_value(one.get(step), length) for step in steps] for one in seeds] for length in lengths]
    return Aligned(
        np.array(steps),
        _plotted(np.array(paper, dtype=np.float64), log=True),
        _plotted(np.array(ours, dtype=np.float64), log=True),
        tuple(f"a = {length:g}" for length in lengths),
        _tolerance(curves[0], log=True),
        log=True,
    )


def _beside(
    shown: FigureRuns,
    panel: str,
    variant: Variant,
    curve: str,
    aligned: Aligned | str,
    *,
    seeds: Sequence[ReportRun],
    half: int = 0,
) -> Beside:
    """Rank a curve after averaging over `half` samples to either side. If it cannot be ranked, the result states
    the reason; `aligned` may be that reason."""
    if len(seeds) < 2:
        aligned = ONE_SEED
    label, diverged = shown.setting.label(variant), sum(run.diverged for run in seeds)
    rank = PaperRank(shown.figure, panel, label, curve, len(seeds), diverged)
    if isinstance(aligned, str):
        return Beside(variant, replace(rank, reason=aligned), None)
    ranked = smoothed(aligned, half)
    looked = looks(ranked)
    reason = "" if looked else NO_STEP
    return Beside(variant, replace(rank, looks=looked, as_far=as_far(ranked), reason=reason), aligned)


def _counted(runs: BySeed, table: str) -> list[ReportRun]:
    """One run per seed that is evidence and measured as in the paper."""
    usual = (
        [run for run in ones if run.counts and as_in_the_paper(run, table)]
        for _, ones in sorted(runs.items())
    )
    return [ones[0] for ones in usual if ones]


def _line(run: ReportRun, drawn: DrawnMeasure, grid: float) -> Line | None:
    """The measure over steps; changes are taken between measurements as far apart as the paper's."""
    if not drawn.change:
        return line_of(run.columns, drawn)
    line = line_of(run.columns, replace(drawn, change=""))
    if line is None:
        return None
    on_grid = _on_grid(line[0], grid)
    x, y = line[0][on_grid], line[1][on_grid]
    if not len(x) or x[0] != 0:
        return None
    if drawn.change == "start":
        return x, y - y[0], y - y[0]
    near = np.diff(x) == grid
    changes = np.abs(np.diff(y))[near]
    return x[1:][near], changes, changes


def _with_penalty(run: ReportRun, line: Line) -> Line | None:
    """The losses plus the weight penalty at the same step; None if the run has no penalty."""
    if run.spec is not None and run.spec.probes.landscape.penalty:
        return line
    steps, penalty = rows(run, "step", "penalty")
    if penalty.ndim != 1 or not (penalty > 0).any():
        return None
    added = _at(line[0], steps, penalty, log=False)
    return line[0], line[1] + added, line[2] + added


def _by_length(run: ReportRun, name: str) -> dict[float, tuple[Floats, Floats]]:
    """Step lengths and values of a field of the landscape probe, by step."""
    return {float(step): (a, y) for step, a, y in zip(*at_lengths(run, name), strict=True)}


def _value(line: tuple[Floats, Floats] | None, length: float) -> float | None:
    """The value at the given step length, or None."""
    if line is None:
        return None
    near = np.flatnonzero(np.abs(line[0] - length) <= SAME_LENGTH * length)
    return float(line[1][near[0]]) if len(near) else None


def _at(steps: Floats, x: Floats, y: Floats, *, log: bool) -> Floats:
    """The values at the given steps, as plotted; NaN where there is no finite value."""
    return _plotted(values_at(steps, x, y), log=log)


def _plotted(values: Floats, *, log: bool) -> Floats:
    """Values in axis units; NaN where a value cannot be plotted."""
    values = drawable(values, log=log)
    return np.log10(values) if log else values


def _on_grid(steps: Floats, grid: float) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return steps % grid == 0 if grid else np.ones(len(steps), dtype=bool)


def _tolerance(curve: PaperCurve, *, log: bool) -> float:
    low, high = _plotted(np.array(curve.axis), log=log)
    return PRECISION * float(high - low) if np.isfinite(high - low) else 0.0
