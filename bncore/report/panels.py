"""Builders of a figure's panels from the runs it draws."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from bncore.config.measure import Measure
from bncore.figure import Curve, HLine, VLine
from bncore.follow.groups import Group
from bncore.measures import MEASURES
from bncore.report.among_seeds import Beside, beside, beside_by_length
from bncore.report.comparison_group import BySeed, FigureRuns
from bncore.report.paper import all_curves, number_in
from bncore.report.quantities import as_in_the_paper
from bncore.report.rank import ReportPanel
from bncore.report.report_run import ReportRun, Variant
from bncore.report.series import (
    DrawnMeasure,
    by_length,
    curves_of,
    departure_marks,
    layer_near,
    one_per_seed,
    paper_curves,
    ridges_of,
    with_range,
)
from bncore.store.measured import reference_lines

DEPTHS = {"vgg": 13, "dln": 25}
"""Number of layers of the paper's networks; its figures use these layer numbers."""


Panels = Callable[[FigureRuns], Iterator[ReportPanel]]


def lines(measure: Measure, *, layer: int | None = None, change: str = "", has_paper: bool = True) -> Panels:
    """A panel of one measure.

    Arguments:
        layer: layer number in the paper.
        change: which change of the values to draw, as in `DrawnMeasure`.
        has_paper: whether the paper's curve with this key shows this field.
    """

    def make(shown: FigureRuns) -> Iterator[ReportPanel]:
        drawn, title = DrawnMeasure(measure, change=change), measure.title
        if layer is not None:
            number = _layer(shown, measure, layer)
            if number is None:
                return
            drawn, title = replace(drawn, layer=number), f"{title}, {_layer_name(number, layer)}"
        comparable = has_paper and drawn.layer in (None, layer)
        compared = list(beside(shown, title, drawn)) if comparable else []
        spreads = {ranked.variant: ranked for ranked in compared if not measure.high}
        curves = [
            curve
            for variant in shown.runs
            for curve in _variant_curves(shown, variant, drawn, spreads.get(variant))
        ]
        paper = _paper(shown, measure.key, drawn.layer) if comparable else []
        yield ReportPanel(
            title,
            (*paper, *curves),
            vlines=tuple(_departures(shown, drawn)),
            hlines=_hlines(shown.all_runs, measure),
            log_y=measure.log,
            y_name=measure.symbol,
            ranks=tuple(ranked.rank for ranked in compared),
            first_seed=bool(change),
        )

    return make


def each_rate(*panels: Panels) -> Panels:
    """The panels, repeated for each learning rate."""

    def make(shown: FigureRuns) -> Iterator[ReportPanel]:
        for lr in shown.rates:
            for panel in panels:
                for plot in panel(shown.at(lr)):
                    several = len(shown.rates) > 1
                    yield replace(plot, title=f"lr {lr:g}: {plot.title}") if several else plot

    return make


def first_of(*panels: Panels) -> Panels:
    """The first of the panels that is not empty for these runs."""

    def make(shown: FigureRuns) -> Iterator[ReportPanel]:
        for panel in panels:
            plots = [plot for plot in panel(shown) if not plot.empty]
            if plots:
                yield from plots
                return

    return make


def row(*panels: Panels) -> Panels:
    """Panels that start a new row, if the layout has room for rows."""

    def make(shown: FigureRuns) -> Iterator[ReportPanel]:
        first = True
        for panel in panels:
            for plot in panel(shown):
                yield replace(plot, starts_row=True) if first and not plot.empty else plot
                first = first and plot.empty

    return make


def distributions(*layers: int) -> Panels:
    """Distributions of the layers' outputs over time: one panel per variant and layer, from the first seed."""

    def make(shown: FigureRuns) -> Iterator[ReportPanel]:
        for wanted in layers:
            number = _layer(shown, MEASURES["mean"], wanted)
            if number is None:
                continue
            for index, (variant, runs) in enumerate(shown.at(shown.rates[0]).runs.items()):
                run = _first(runs, "probe:activations")
                ridges = ridges_of(run, shown.setting.styles[variant], number)
                title = f"{_layer_name(number, wanted)}: {shown.setting.label(variant)}, seed {run.seed}"
                yield ReportPanel(
                    title,
                    x_name="output",
                    y_name="step",
                    ridges=tuple(ridges),
                    starts_row=index == 0,
                    first_seed=True,
                )

    return make


def lengths(measure: Measure, *, has_paper: bool = True) -> Panels:
    """A measure over step lengths: one panel per variant, from its first seed.

    Arguments:
        has_paper: whether the paper has curves of this measure.
    """

    def make(shown: FigureRuns) -> Iterator[ReportPanel]:
        compared = list(beside_by_length(shown, measure)) if has_paper else []
        for variant, runs in shown.runs.items():
            run, style = _first(runs, measure.table), shown.setting.styles[variant]
            curves = by_length(run, style, measure.field)
            paper = _paper_by_length(shown, variant, measure.key, curves) if has_paper else []
            yield ReportPanel(
                f"{measure.title}: {shown.setting.label(variant)}, seed {run.seed}",
                (*paper, *curves),
                hlines=_hlines([run], measure),
                log_x=True,
                log_y=measure.log,
                x_name="step length a",
                y_name=measure.symbol,
                ranks=tuple(ranked.rank for ranked in compared if ranked.variant == variant),
                first_seed=True,
            )

    return make


def _variant_curves(
    shown: FigureRuns, variant: Variant, drawn: DrawnMeasure, ranked: Beside | None
) -> list[Curve]:
    """A variant's curves, with the range of its seeds as band if the paper's curve is drawn beside them and all
    seeds are ranked."""
    presentation, aligned = shown.setting.presentation, ranked and ranked.aligned
    beside_paper = ranked is not None and presentation.band is None and not presentation.single
    if beside_paper:
        presentation = replace(presentation, band="range")
    curves = curves_of(_seeds(shown, variant, drawn), drawn, presentation)
    all_count = ranked and ranked.rank.seeds == len(shown.runs[variant])
    if beside_paper and all_count and aligned and len(aligned.steps) > 1:
        return with_range(curves, *aligned.spread)
    return curves


def _seeds(shown: FigureRuns, variant: Variant, drawn: DrawnMeasure) -> Group:
    setting = shown.setting
    runs = tuple(run.view for run in one_per_seed(shown.runs[variant], drawn))
    return Group(setting.label(variant), setting.styles[variant], runs)


def _departures(shown: FigureRuns, drawn: DrawnMeasure) -> Iterator[VLine]:
    """Marks where a variant's mean continues without a seed; none if no means are drawn."""
    if not (shown.setting.presentation.single or drawn.change):
        for variant in shown.runs:
            yield from departure_marks(_seeds(shown, variant, drawn))


def _layer(shown: FigureRuns, measure: Measure, wanted: int) -> int | None:
    return layer_near(shown.all_runs, measure, wanted, DEPTHS[shown.setting.network])


def _layer_name(number: int, wanted: int) -> str:
    return f"layer {number}" if number == wanted else f"layer {number} (for the paper's {wanted})"


def _first(runs: BySeed, table: str) -> ReportRun:
    """A run of the first seed, preferably one that measured the table as in the paper."""
    return min(runs[min(runs)], key=lambda run: not as_in_the_paper(run, table))


def _paper(shown: FigureRuns, key: str, layer: int | None) -> list[Curve]:
    curves = all_curves(key, shown.figure, layer=layer)
    styles = {variant: shown.setting.styles[variant] for variant in shown.runs}
    return paper_curves(curves, styles, shown.setting.steps)


def _paper_by_length(shown: FigureRuns, variant: Variant, key: str, ours: Sequence[Curve]) -> list[Curve]:
    """The paper's curves nearest in step to the measurements shown."""
    styles = {variant: shown.setting.styles[variant]}
    theirs = paper_curves(all_curves(key, shown.figure), styles, np.inf)
    by_label: dict[str, Curve] = {}
    for curve in ours:
        if theirs:
            step = number_in(curve.label)
            near = min(theirs, key=lambda one: abs(number_in(one.label) - step))
            by_label.setdefault(near.label, near)
    return list(by_label.values())


def _hlines(runs: Iterable[ReportRun], measure: Measure) -> tuple[HLine, ...]:
    return reference_lines(((run.columns, run.spec) for run in runs), measure)
