"""How the panels of a figure are made from the runs that it draws."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bncore.figure import Curve, HLine
from bncore.measures import MEASURES
from bncore.report.among_seeds import Beside, Place, beside, beside_by_length
from bncore.report.comparison_group import ComparisonGroup
from bncore.report.paper import all_curves
from bncore.report.picture import ReportPanel
from bncore.report.quantities import as_in_the_paper
from bncore.report.report_run import ReportRun, Variant
from bncore.report.series import (
    Field,
    Style,
    by_length,
    curves_of,
    layer_near,
    paper_curves,
    ridges_of,
    with_spread,
)
from bncore.store.thresholds import reference_lines

DEPTHS = {"vgg": 13, "dln": 25}
"""Layers of the paper's networks, which its figures number."""

BySeed = dict[int, list[ReportRun]]


@dataclass(frozen=True)
class FigureRuns:
    """The runs that a figure draws."""

    figure: str
    setting: ComparisonGroup
    runs: Mapping[Variant, BySeed]
    styles: Mapping[Variant, Style]

    @property
    def rates(self) -> list[float]:
        """Learning rates, largest first, as the paper orders them."""
        return sorted({variant.lr for variant in self.runs}, reverse=True)

    @property
    def all_runs(self) -> list[ReportRun]:
        """Every one."""
        return [run for ones in self.runs.values() for some in ones.values() for run in some]

    def at(self, lr: float) -> FigureRuns:
        """Those of one learning rate."""
        kept = {variant: ones for variant, ones in self.runs.items() if variant.lr == lr}
        return FigureRuns(self.figure, self.setting, kept, self.styles)


Panels = Callable[[FigureRuns], Iterator[ReportPanel]]


def lines(
    title: str, y_name: str, field: Field, key: str = "", *, log: bool = False, layer: int | None = None
) -> Panels:
    """A panel of one field; `layer` as the paper numbers it."""

    def make(shown: FigureRuns) -> Iterator[ReportPanel]:
        one, name = field, title
        if layer is not None:
            number = _layer(shown, field.table, layer)
            if number is None:
                return
            one = Field(field.table, field.name, field.high, number, field.change)
            name = f"{title}, {_layer_name(number, layer)}"
        own = bool(key) and one.layer in (None, layer)
        place = Place(shown.figure, name, key, shown.setting)
        compared = list(beside(place, shown.runs, one)) if own else []
        spreads = {found.variant: found for found in compared if not one.high}
        curves = [
            curve
            for variant, runs in shown.runs.items()
            for curve in _variant_curves(shown, variant, runs, one, spreads.get(variant))
        ]
        paper = _paper(shown, key, one.layer) if own else []
        yield ReportPanel(
            name,
            (*paper, *curves),
            hlines=_hlines(shown.all_runs, "beta") if field.name == "beta" else (),
            log_y=log,
            y_name=y_name,
            ranks=tuple(found.rank for found in compared),
            first_seed=bool(field.change),
        )

    return make


def each_rate(*panels: Panels) -> Panels:
    """The panels once for each learning rate."""

    def make(shown: FigureRuns) -> Iterator[ReportPanel]:
        for lr in shown.rates:
            for panel in panels:
                for plot in panel(shown.at(lr)):
                    several = len(shown.rates) > 1
                    yield replace(plot, title=f"lr {lr:g}: {plot.title}") if several else plot

    return make


def first_of(*panels: Panels) -> Panels:
    """The first of the panels that shows something of the runs."""

    def make(shown: FigureRuns) -> Iterator[ReportPanel]:
        for panel in panels:
            found = [plot for plot in panel(shown) if not plot.empty]
            if found:
                yield from found
                return

    return make


def row(*panels: Panels) -> Panels:
    """Panels that begin a row of their own, where there is room for rows."""

    def make(shown: FigureRuns) -> Iterator[ReportPanel]:
        first = True
        for panel in panels:
            for plot in panel(shown):
                yield replace(plot, starts_row=True) if first and not plot.empty else plot
                first = first and plot.empty

    return make


def distributions(*layers: int) -> Panels:
    """The layers' distributions over time: a panel a variant and layer, of its first seed."""

    def make(shown: FigureRuns) -> Iterator[ReportPanel]:
        for wanted in layers:
            number = _layer(shown, "probe:activations", wanted)
            if number is None:
                continue
            for place, (variant, runs) in enumerate(shown.at(shown.rates[0]).runs.items()):
                run = _first(runs, "probe:activations")
                ridges = ridges_of(run, shown.styles[variant], number)
                title = f"{_layer_name(number, wanted)}: {shown.setting.label(variant)}, seed {run.seed}"
                yield ReportPanel(
                    title,
                    x_name="output",
                    y_name="step",
                    ridges=tuple(ridges),
                    starts_row=place == 0,
                    first_seed=True,
                )

    return make


def lengths(title: str, y_name: str, field: str, key: str = "") -> Panels:
    """A field against the step length: a panel a variant, of its first seed."""

    def make(shown: FigureRuns) -> Iterator[ReportPanel]:
        place = Place(shown.figure, title, key, shown.setting)
        compared = list(beside_by_length(place, shown.runs, field)) if key else []
        for variant, runs in shown.runs.items():
            run, style = _first(runs, "probe:landscape"), shown.styles[variant]
            curves = by_length(run, style, field)
            paper = _paper_by_length(shown, variant, key, curves) if key else []
            yield ReportPanel(
                f"{title}: {shown.setting.label(variant)}, seed {run.seed}",
                (*paper, *curves),
                hlines=_hlines([run], "relative_by_length") if field == "relative" else (),
                log_x=True,
                log_y=True,
                x_name="step length a",
                y_name=y_name,
                ranks=tuple(found.rank for found in compared if found.variant == variant),
                first_seed=True,
            )

    return make


def _variant_curves(
    shown: FigureRuns, variant: Variant, runs: BySeed, field: Field, found: Beside | None
) -> list[Curve]:
    """A variant's curves; with the range of its seeds where the paper's curve is drawn over them and all count."""
    curves = curves_of(shown.setting.label(variant), shown.styles[variant], runs, field)
    if found is None or found.aligned is None or found.rank.seeds < len(runs) or len(found.aligned.steps) < 2:
        return curves
    return with_spread(curves, *found.aligned.spread)


def _layer(shown: FigureRuns, table: str, wanted: int) -> int | None:
    return layer_near(shown.all_runs, table, wanted, DEPTHS[shown.setting.network])


def _layer_name(number: int, wanted: int) -> str:
    return f"layer {number}" if number == wanted else f"layer {number} (for the paper's {wanted})"


def _first(runs: BySeed, table: str) -> ReportRun:
    """A run of the first seed, of several one that measured the table as in the paper."""
    return min(runs[min(runs)], key=lambda run: not as_in_the_paper(run, table))


def _paper(shown: FigureRuns, key: str, layer: int | None) -> list[Curve]:
    curves = all_curves(key, shown.figure, layer=layer)
    styles = {variant: shown.styles[variant] for variant in shown.runs}
    return paper_curves(curves, styles, shown.rates, shown.setting.steps)


def _paper_by_length(shown: FigureRuns, variant: Variant, key: str, ours: Sequence[Curve]) -> list[Curve]:
    """Of each measurement shown, the paper's nearest in time, in the same shade."""
    styles = {variant: shown.styles[variant]}
    theirs = paper_curves(all_curves(key, shown.figure), styles, shown.rates, np.inf)
    found: dict[str, Curve] = {}
    for curve in ours:
        if theirs:
            step = _step(curve.label)
            near = min(theirs, key=lambda one: abs(_step(one.label) - step))
            found.setdefault(near.label, near)
    return list(found.values())


def _step(label: str) -> float:
    return float(label.replace("=", " ").replace(",", "").split()[-1])


def _hlines(runs: Iterable[ReportRun], measure: str) -> tuple[HLine, ...]:
    return reference_lines(((run.columns, run.spec) for run in runs), MEASURES[measure])
