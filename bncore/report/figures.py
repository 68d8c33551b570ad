"""The figures of Santurkar et al. (2018), panel by panel, from whatever runs cover them; each is a row here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bncore.report.paper import CAVEATS, ONE_SEED, all_curves
from bncore.report.picture import Curve, Key, Picture, Plot, Rule, Style
from bncore.report.quantities import rows
from bncore.report.runs import ReportRun, Variant
from bncore.report.series import (
    Field,
    by_length,
    curves_of,
    layer_near,
    paper_curves,
    ridges_of,
    styles_of,
)
from bncore.report.settings import Setting

DEPTHS = {"vgg": 13, "dln": 25}
"""Layers of the paper's networks, which its figures number."""

MEDIANS = (
    "Thick lines are medians over seeds, thin ones the seeds; of bands the medians of both edges are drawn."
)

BySeed = dict[int, list[ReportRun]]


@dataclass(frozen=True)
class Shown:
    """The runs that a figure draws."""

    figure: str
    setting: Setting
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

    def at(self, lr: float) -> Shown:
        """Those of one learning rate."""
        kept = {variant: ones for variant, ones in self.runs.items() if variant.lr == lr}
        return Shown(self.figure, self.setting, kept, self.styles)


Panels = Callable[[Shown], Iterator[Plot]]


@dataclass(frozen=True)
class Figure:
    """One figure of the paper."""

    number: str
    title: str
    network: str
    """vgg or dln."""
    norms: frozenset[str]
    panels: tuple[Panels, ...]
    noise: bool = False
    """Whether runs with noise belong to it."""
    wants: Callable[[Variant], bool] = lambda _: True
    """A variant without which the figure is another one."""


def lines(
    title: str, y_name: str, field: Field, key: str = "", *, log: bool = False, layer: int | None = None
) -> Panels:
    """A panel of one field; `layer` as the paper numbers it."""

    def make(shown: Shown) -> Iterator[Plot]:
        one, name = field, title
        if layer is not None:
            number = _layer(shown, field.table, layer)
            if number is None:
                return
            one = Field(field.table, field.name, field.high, number, field.change)
            name = f"{title}, {_layer_name(number, layer)}"
        curves = [
            curve
            for variant, runs in shown.runs.items()
            for curve in curves_of(shown.setting.label(variant), shown.styles[variant], runs, one)
        ]
        own = one.layer is None or one.layer == layer
        paper = _paper(shown, key, one.layer) if key and own else []
        rules = _beta_rules(shown) if field.name == "beta" else ()
        yield Plot(name, "step", y_name, (*paper, *curves), rules=rules, log_y=log)

    return make


def each_rate(*panels: Panels) -> Panels:
    """The panels once for each learning rate."""

    def make(shown: Shown) -> Iterator[Plot]:
        for lr in shown.rates:
            for panel in panels:
                for plot in panel(shown.at(lr)):
                    yield plot if len(shown.rates) == 1 else _titled(plot, f"lr {lr:g}: {plot.title}")

    return make


def distributions(*layers: int) -> Panels:
    """The layers' distributions over time: a panel a variant and layer, of its first seed."""

    def make(shown: Shown) -> Iterator[Plot]:
        for wanted in layers:
            number = _layer(shown, "probe:activations", wanted)
            if number is None:
                continue
            for variant, runs in shown.at(shown.rates[0]).runs.items():
                run = _first(runs)
                ridges = ridges_of(run, shown.styles[variant], number)
                title = f"{_layer_name(number, wanted)}: {shown.setting.label(variant)}, seed {run.seed}"
                yield Plot(title, "output", "step", ridges=tuple(ridges))

    return make


def lengths(title: str, y_name: str, field: str, key: str = "") -> Panels:
    """A field against the step length: a panel a variant, of its first seed."""

    def make(shown: Shown) -> Iterator[Plot]:
        for variant, runs in shown.runs.items():
            run, style = _first(runs), shown.styles[variant]
            curves = by_length(run, style, field)
            paper = _paper_by_length(shown, variant, key, curves) if key else []
            rules = (Rule(2.0, "2: at a = lr the edge of stability"),) if field == "relative" else ()
            name = f"{title}: {shown.setting.label(variant)}, seed {run.seed}"
            yield Plot(name, "step length a", y_name, (*paper, *curves), rules=rules, log_x=True, log_y=True)

    return make


_ACCURACY = Field("step", "accuracy")
_LANDSCAPE = (
    lines(
        "Loss along the gradient", "loss", Field("probe:landscape", "loss_min", "loss_max"),
        "loss_band", log=True,
    ),
    lines(
        "Gradient predictiveness", "‖Δg‖", Field("probe:landscape", "grad_diff_min", "grad_diff_max"),
        "gradient_predictiveness", log=True,
    ),
    lines("Effective β-smoothness", "β", Field("probe:landscape", "beta"), "beta", log=True),
)  # fmt: skip
_BY_LENGTH = (
    lengths("‖Δg‖", "‖Δg‖", "grad_diff", "difference_by_length"),
    lengths("‖Δg‖/‖g‖", "‖Δg‖/‖g‖", "relative"),
)


def _shift(*layers: int) -> Iterator[Panels]:
    for layer in layers:
        yield lines("‖G − G′‖", "l2 difference", Field("probe:ics", "l2"), "ics_l2", log=True, layer=layer)
        yield lines("cos(G, G′)", "cosine", Field("probe:ics", "cosine"), "ics_cosine", layer=layer)


def _drifts(layer: int) -> Iterator[Panels]:
    table = "probe:activations"
    mean, variance = "unit_mean", "unit_variance"
    yield lines(
        "|Δμ| of a unit", "|Δμ|", Field(table, mean, change="step"), "mean_step", log=True, layer=layer
    )
    yield lines(
        "|Δσ²| of a unit",
        "|Δσ²|",
        Field(table, variance, change="step"),
        "variance_step",
        log=True,
        layer=layer,
    )
    yield lines("μ − μ₀ of a unit", "μ − μ₀", Field(table, mean, change="start"), "mean_drift", layer=layer)
    yield lines(
        "σ² − σ₀² of a unit",
        "σ² − σ₀²",
        Field(table, variance, change="start"),
        "variance_drift",
        layer=layer,
    )


_TWO, _FIVE = frozenset({"none", "batch"}), frozenset({"none", "batch", "l1", "l2", "linf"})


def _is_l_p(variant: Variant) -> bool:
    return variant.norm in _FIVE - _TWO


def _is_noisy(variant: Variant) -> bool:
    return bool(variant.noise)


_TRAINING = lines("Training accuracy", "accuracy", _ACCURACY, "accuracy")
_TEST = lines("Test accuracy", "accuracy", Field("eval", "test_accuracy"), "test_accuracy")
_LOSS = lines("Training loss", "loss", Field("step", "loss"), "loss", log=True)

FIGURES: tuple[Figure, ...] = (
    Figure("1", "Accuracy and activations of VGG", "vgg", _TWO, (_TRAINING, _TEST, distributions(3, 11))),
    Figure(
        "2", "Noise injected after BatchNorm", "vgg", _TWO, (_TRAINING, distributions(2, 9, 13)),
        noise=True, wants=_is_noisy,
    ),
    Figure(
        "3a", "Internal covariate shift in VGG", "vgg", _TWO, (each_rate(_TRAINING, *_shift(5, 10)),),
    ),
    Figure(
        "3b", "Internal covariate shift in a deep linear network", "dln", _TWO,
        (each_rate(_LOSS, *_shift(9, 17)),),
    ),
    Figure("4", "The landscape of VGG", "vgg", _TWO, (each_rate(*_LANDSCAPE),)),
    Figure("5a", "VGG under five norms", "vgg", _FIVE, (_TRAINING,), wants=_is_l_p),
    Figure("5b", "A deep linear network under five norms", "dln", _FIVE, (_LOSS,), wants=_is_l_p),
    Figure("6", "Activations of VGG under five norms", "vgg", _FIVE, (distributions(11),), wants=_is_l_p),
    Figure(
        "8", "Drift of a unit's mean and variance", "vgg", _TWO,
        tuple(panel for layer in (2, 9, 13) for panel in _drifts(layer)), noise=True, wants=_is_noisy,
    ),
    Figure("9", "Activations of a deep linear network", "dln", _TWO, (distributions(1, 11, 24),)),
    Figure("10", "The landscape of a deep linear network", "dln", _TWO, (each_rate(*_LANDSCAPE),)),
    Figure("11a", "Gradient difference against step length, VGG", "vgg", _TWO, (each_rate(*_BY_LENGTH),)),
    Figure(
        "11b", "Gradient difference against step length, deep linear network", "dln", _TWO,
        (each_rate(*_BY_LENGTH),),
    ),
    Figure("12", "The landscape of VGG under five norms", "vgg", _FIVE, (each_rate(*_LANDSCAPE),), wants=_is_l_p),
    Figure(
        "13", "The landscape of a deep linear network under five norms", "dln", _FIVE,
        (each_rate(*_LANDSCAPE),), wants=_is_l_p,
    ),
)  # fmt: skip
"""PAPER.md, section 4."""


def figures_of(settings: Sequence[Setting]) -> Iterator[Picture]:
    """Every figure that the runs of some setting cover, in the paper's order."""
    for figure in FIGURES:
        for setting in settings:
            picture = _picture(figure, setting)
            if picture is not None:
                yield picture


def _picture(figure: Figure, setting: Setting) -> Picture | None:
    shown = _shown(figure, setting)
    if shown is None:
        return None
    plots = tuple(plot for panel in figure.panels for plot in panel(shown) if not plot.empty)
    measured = [plot for plot in plots if plot.y_name not in ("accuracy",)]
    if not plots or (figure.number.startswith("3") and not any(plot.y_name == "cosine" for plot in measured)):
        return None
    has_paper = any(curve.weight == "paper" for plot in plots for curve in plot.curves)
    return Picture(
        name=f"fig{figure.number}",
        title=f"Fig {figure.number}: {figure.title}",
        setting=setting.title,
        plots=plots,
        keys=tuple(Key(_key_label(shown, v), shown.styles[v]) for v in shown.runs),
        has_paper=has_paper,
        notes=(*CAVEATS.get(figure.number, ()), *((ONE_SEED,) if has_paper else ()), *_notes(shown)),
    )


def _shown(figure: Figure, setting: Setting) -> Shown | None:
    """The figure's runs of a setting; None where that is another network, or lacks what the figure is about."""
    if setting.network != figure.network:
        return None
    runs: dict[Variant, BySeed] = {}
    for run in setting.runs:
        variant = run.variant
        if (
            (run.counts or run.unfinished)
            and variant.norm in figure.norms
            and (figure.noise or not variant.noise)
        ):
            runs.setdefault(variant, {}).setdefault(run.seed, []).append(run)
    if not any(map(figure.wants, runs)):
        return None
    return Shown(figure.number, setting, runs, styles_of([run.variant for run in setting.runs]))


def _key_label(shown: Shown, variant: Variant) -> str:
    seeds = len(shown.runs[variant])
    return f"{shown.setting.label(variant)} ({seeds} seed{'s' if seeds > 1 else ''})"


def _notes(shown: Shown) -> Iterator[str]:
    runs = shown.all_runs
    if shown.setting.synthetic:
        yield "Synthetic images: for looking at, not for conclusions."
    late = [f"{run.name} ({run.exclusion})" for run in runs if run.unfinished]
    if late:
        yield f"Unfinished, drawn as far as they came and no evidence: {', '.join(late)}."
    gone = [f"{run.name} at step {run.step:,}" for run in runs if run.diverged]
    if gone:
        yield f"Diverged, drawn up to a cross: {', '.join(gone)}."
    if any(len(ones) > 1 for ones in shown.runs.values()):
        yield MEDIANS


def _layer(shown: Shown, table: str, wanted: int) -> int | None:
    return layer_near(shown.all_runs, table, wanted, DEPTHS[shown.setting.network])


def _layer_name(number: int, wanted: int) -> str:
    return f"layer {number}" if number == wanted else f"layer {number} (for the paper's {wanted})"


def _first(runs: BySeed) -> ReportRun:
    return runs[min(runs)][0]


def _paper(shown: Shown, key: str, layer: int | None) -> list[Curve]:
    curves = all_curves(key, shown.figure, layer=layer)
    styles = {variant: shown.styles[variant] for variant in shown.runs}
    return paper_curves(curves, styles, shown.rates, shown.setting.steps)


def _paper_by_length(shown: Shown, variant: Variant, key: str, ours: Sequence[Curve]) -> list[Curve]:
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


def _beta_rules(shown: Shown) -> tuple[Rule, ...]:
    """2/lr and 1/a_min of the first run that measured them, as one line where they are one value."""
    for run in shown.all_runs:
        _, high = rows(run, "probe:landscape", "two_over_lr")
        _, short = rows(run, "probe:landscape", "one_over_a_min")
        if len(high) and len(short):
            two, one = float(high[-1]), float(short[-1])
            if abs(two - one) <= 1e-6 * two:
                return (Rule(two, "2/lr = 1/a_min"),)
            return Rule(two, "2/lr"), Rule(one, "1/a_min")
    return ()


def _titled(plot: Plot, title: str) -> Plot:
    return Plot(title, plot.x_name, plot.y_name, plot.curves, plot.ridges, plot.rules, plot.log_x, plot.log_y)
