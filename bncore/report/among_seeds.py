"""The paper's curves brought beside the seeds of the variants that they are of, like with like, to be ranked.

- Only the paper's own samples are looked at (every 50, 100 or 1,000 steps): between them a jagged line is
  smoother than measurements are. Samples that its drawing lost are read off the line, on the axis as the
  paper plots it.
- Training accuracies are those of single batches, in the paper and here: ours are taken at the paper's
  samples, and both are averaged over the same `WINDOW` of them to either side.
- The paper's VGG losses include a weight penalty. Where ours are of the data alone the penalty at that step
  is added: along the line it hardly changes. The loss of runs that have no penalty gets no rank.
- Changes of a unit are taken between measurements as far apart as the paper's. Each seed shows a unit of its
  own, as the paper's does.
- A variant is the paper's if norm, noise (Algorithm 1 with its constants) and learning rate are. Of the
  seeds those are taken that are evidence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bncore.config.measure import Measure
from bncore.figure import Floats, values_at
from bncore.report.comparison_group import BySeed, FigureRuns
from bncore.report.paper import LOGARITHMIC, RATES, VARIANTS, PaperCurve, all_curves
from bncore.report.quantities import as_in_the_paper, rows
from bncore.report.rank import Aligned, PaperRank, as_far, looks, smoothed, spacing
from bncore.report.report_run import ReportRun, Variant
from bncore.report.series import DrawnMeasure, Line, at_lengths, line_of

PRECISION = 1e-3
"""Share of a panel's axis to which the paper's values are known: of long lines, points were lost that lie as near
to what is left."""
WINDOW = 2
"""Samples to either side that noisy values are averaged over."""
NOISY = frozenset({"accuracy"})
"""Panels of single batches' values."""
SAME_LENGTH = 0.01
"""How near step lengths are that count as one, relatively."""
NO_PENALTY = "no rank: the paper's loss includes a weight penalty, that of these runs has none"
NO_STEP = "no rank: nothing was measured at a sample of the paper's"
ONE_SEED = "no rank: one seed"


@dataclass(frozen=True)
class Beside:
    """A curve of the paper beside the seeds."""

    variant: Variant
    rank: PaperRank
    aligned: Aligned | None
    """At all samples, nothing averaged; None where there is none, or one seed."""


def beside(shown: FigureRuns, panel: str, drawn: DrawnMeasure) -> Iterator[Beside]:
    """Every curve of a panel against the step whose variant was run and measured.

    Arguments:
        panel: its title.
        drawn: the measure; the paper's layer, where it has one.
    """
    key, log = drawn.measure.key, (drawn.measure.key, shown.figure) in LOGARITHMIC
    for curve in all_curves(key, shown.figure, layer=drawn.layer):
        variant = _variant(curve, shown)
        seeds = _counted(shown.runs[variant], drawn.table) if variant else []
        if variant is None or not seeds:
            continue
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
    """Every variant of a panel against the step length: at steps of the paper's that were measured, the lengths
    that both have."""
    found: dict[str, list[PaperCurve]] = {}
    for curve in all_curves(measure.key, shown.figure):
        found.setdefault(curve.legend, []).append(curve)
    for legend, curves in found.items():
        variant = _variant(curves[0], shown)
        seeds = _counted(shown.runs[variant], measure.table) if variant else []
        lines = [(run, line) for run in seeds if (line := _by_length(run, measure.field))]
        if variant is not None and lines:
            aligned = align_lengths(curves, [line for _, line in lines])
            seeds = [run for run, _ in lines]
            yield _beside(shown, measure.title, variant, legend, aligned or NO_STEP, seeds=seeds)


def align(curve: PaperCurve, lines: Sequence[Line], grid: float, *, log: bool) -> Aligned | None:
    """A curve of the paper and the seeds' at its samples that at least half of the seeds measured; None where
    there is no such.

    Arguments:
        grid: distance of the paper's samples.
        log: whether values are compared as logarithms.
    """
    steps, counts = np.unique(np.concatenate([line[0] for line in lines]), return_counts=True)
    kept = (steps >= curve.x[0]) & (steps <= curve.x[-1]) & (2 * counts >= len(lines))
    steps = steps[kept & _on_grid(steps, grid)]
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
    """The paper's curves against the step length, each of one step, and the seeds' at those steps that at least
    half of them measured, as logarithms; None where there is no such step or no length of both.

    Arguments:
        seeds: by step, step lengths and values.
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
    found: Aligned | str,
    *,
    seeds: Sequence[ReportRun],
    half: int = 0,
) -> Beside:
    """Ranked, averaged over `half` samples to either side; or with the reason why not, which may be what was
    found."""
    if len(seeds) < 2:
        found = ONE_SEED
    label, diverged = shown.setting.label(variant), sum(run.diverged for run in seeds)
    rank = PaperRank(shown.figure, panel, label, curve, len(seeds), diverged)
    if isinstance(found, str):
        return Beside(variant, replace(rank, reason=found), None)
    ranked = smoothed(found, half) if half else found
    looked = looks(ranked)
    reason = "" if looked else NO_STEP
    return Beside(variant, replace(rank, looks=looked, as_far=as_far(ranked), reason=reason), found)


def _variant(curve: PaperCurve, shown: FigureRuns) -> Variant | None:
    """The variant of the runs that a curve is of."""
    if curve.legend not in VARIANTS:
        return None
    norm, noisy = VARIANTS[curve.legend]
    rate = curve.rate if curve.rate is not None else RATES.get(shown.figure)
    wanted = Variant(norm, "noise" if noisy else "", rate or 0.0)
    return wanted if wanted in shown.runs else None


def _counted(runs: BySeed, table: str) -> list[ReportRun]:
    """A run of each seed: evidence, and measured as in the paper."""
    usual = (
        [run for run in ones if run.counts and as_in_the_paper(run, table)]
        for _, ones in sorted(runs.items())
    )
    return [ones[0] for ones in usual if ones]


def _line(run: ReportRun, drawn: DrawnMeasure, grid: float) -> Line | None:
    """The measure over the steps, of changes those between measurements as far apart as the paper's."""
    if not drawn.change:
        return line_of(run, drawn)
    line = line_of(run, replace(drawn, change=""))
    if line is None:
        return None
    kept = _on_grid(line[0], grid)
    x, y = line[0][kept], line[1][kept]
    if not len(x) or x[0] != 0:
        return None
    if drawn.change == "start":
        return x, y - y[0], y - y[0]
    near = np.diff(x) == grid
    changes = np.abs(np.diff(y))[near]
    return x[1:][near], changes, changes


def _with_penalty(run: ReportRun, line: Line) -> Line | None:
    """The losses with the penalty of the same step; None where the run has no penalty."""
    if run.spec is not None and run.spec.probes.landscape.penalty:
        return line
    steps, penalty = rows(run, "step", "penalty")
    if penalty.ndim != 1 or not (penalty > 0).any():
        return None
    added = _at(line[0], steps, penalty, log=False)
    return line[0], line[1] + added, line[2] + added


def _by_length(run: ReportRun, name: str) -> dict[float, tuple[Floats, Floats]]:
    """By step, the step lengths and a field of the landscape probe there."""
    return {float(step): (a, y) for step, a, y in zip(*at_lengths(run, name), strict=True)}


def _value(line: tuple[Floats, Floats] | None, length: float) -> float | None:
    """The value at the step length; None where there is none."""
    if line is None:
        return None
    near = np.flatnonzero(np.abs(line[0] - length) <= SAME_LENGTH * length)
    return float(line[1][near[0]]) if len(near) else None


def _at(steps: Floats, x: Floats, y: Floats, *, log: bool) -> Floats:
    """The values at the steps, as plotted; NaN where there is none, or no finite one."""
    return _plotted(values_at(steps, x, y), log=log)


def _plotted(values: Floats, *, log: bool) -> Floats:
    """On the axis; NaN for what has no place there."""
    kept = np.where(np.isfinite(values) & ((values > 0) | (not log)), values, np.nan)
    return np.log10(kept) if log else kept


def _on_grid(steps: Floats, grid: float) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return steps % grid == 0 if grid else np.ones(len(steps), dtype=bool)


def _tolerance(curve: PaperCurve, *, log: bool) -> float:
    low, high = _plotted(np.array(curve.axis), log=log)
    return PRECISION * float(high - low) if np.isfinite(high - low) else 0.0
