"""The figures of Santurkar et al. (2018), panel by panel, for the runs that cover them, each a row of `FIGURES`;
and overviews beyond the paper: means of other runs, and single runs that are not evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from weakref import WeakKeyDictionary

from bncore.config.measure import Measure
from bncore.figure import LegendEntry
from bncore.follow.groups import Group
from bncore.measures import MEASURES, SHOWN
from bncore.report.comparison_group import PLAIN, ComparisonGroup, FigureRuns, Presentation, by_variant
from bncore.report.panels import Panels, distributions, each_rate, first_of, lengths, lines, row
from bncore.report.paper import CAVEATS, ONE_SEED
from bncore.report.rank import ReportPanel, ReportPicture
from bncore.report.report_run import ReportRun, Variant
from bncore.report.series import RANGE, DrawnMeasure, curves_of, departure_marks, means_note
from bncore.store.measured import middle_layer

MOST_COLUMNS = 4
FIRST_SEED = (
    "Of units, distributions and step lengths the first seed is drawn: those of one have no like in another."
)
BESIDE_PAPER = f"Beside a curve of the paper, which is of one run, the band is {RANGE}, at its own samples."


@dataclass(frozen=True)
class Figure:
    """One figure of the paper."""

    number: str
    title: str
    network: str
    """``vgg`` or ``dln``."""
    norms: frozenset[str]
    panels: tuple[Panels, ...]
    noise: bool = False
    """Whether the figure includes runs with noise."""
    wants: Callable[[Variant], bool] = lambda _: True
    """Predicate that at least one variant must satisfy; otherwise the runs do not cover the figure."""
    needs: str = ""
    """y-axis label of a panel that the figure must have; empty: none."""


def _as_in_paper(make: Callable[..., Panels], measure: Measure) -> Panels:
    """The field that the paper draws; for runs that lack it, our own field, without the paper's curve."""
    assert measure.in_paper is not None
    return first_of(make(measure.in_paper), make(measure, has_paper=False))


_LANDSCAPE = (
    lines(MEASURES["loss_band"]),
    _as_in_paper(lines, MEASURES["gradient_predictiveness"]),
    lines(MEASURES["beta"]),
)
_BY_LENGTH = (
    row(_as_in_paper(lengths, MEASURES["difference_by_length"])),
    row(lengths(MEASURES["relative_by_length"], has_paper=False)),
)


def _shift(*layers: int) -> Iterator[Panels]:
    for layer in layers:
        yield lines(MEASURES["ics_l2"], layer=layer)
        yield lines(MEASURES["ics_cosine"], layer=layer)


def _drifts(layer: int) -> Iterator[Panels]:
    for key, field, symbol, change in (
        ("mean_step", "unit_mean", "|Δμ|", "step"),
        ("variance_step", "unit_variance", "|Δσ²|", "step"),
        ("mean_drift", "unit_mean", "μ − μ₀", "start"),
        ("variance_drift", "unit_variance", "σ² − σ₀²", "start"),
    ):
        of_a_unit = replace(MEASURES[key], field=field, title=f"{symbol} of a unit", symbol=symbol)
        yield lines(of_a_unit, layer=layer, change=change)


_TWO, _FIVE = frozenset({"none", "batch"}), frozenset({"none", "batch", "l1", "l2", "linf"})


def _is_l_p(variant: Variant) -> bool:
    return variant.norm in _FIVE - _TWO


def _is_noisy(variant: Variant) -> bool:
    return bool(variant.noise)


_TRAINING, _TEST, _LOSS = (lines(MEASURES[key]) for key in ("accuracy", "test_accuracy", "loss"))
_COSINE = MEASURES["ics_cosine"].symbol

FIGURES: tuple[Figure, ...] = (
    Figure("1", "Accuracy and activations of VGG", "vgg", _TWO, (row(_TRAINING, _TEST), distributions(3, 11))),
    Figure(
        "2", "Noise injected after BatchNorm", "vgg", _TWO, (_TRAINING, distributions(2, 9, 13)),
        noise=True, wants=_is_noisy,
    ),
    Figure(
        "3a", "Internal covariate shift in VGG", "vgg", _TWO, (each_rate(row(_TRAINING, *_shift(5, 10))),),
        needs=_COSINE,
    ),
    Figure(
        "3b", "Internal covariate shift in a deep linear network", "dln", _TWO,
        (each_rate(row(_LOSS, *_shift(9, 17))),), needs=_COSINE,
    ),
    Figure("4", "The landscape of VGG", "vgg", _TWO, (each_rate(row(*_LANDSCAPE)),)),
    Figure("5a", "VGG under five norms", "vgg", _FIVE, (_TRAINING,), wants=_is_l_p),
    Figure("5b", "A deep linear network under five norms", "dln", _FIVE, (_LOSS,), wants=_is_l_p),
    Figure("6", "Activations of VGG under five norms", "vgg", _FIVE, (distributions(11),), wants=_is_l_p),
    Figure(
        "8", "Drift of a unit's mean and variance", "vgg", _TWO,
        tuple(row(*_drifts(layer)) for layer in (2, 9, 13)), noise=True, wants=_is_noisy,
    ),
    Figure("9", "Activations of a deep linear network", "dln", _TWO, (distributions(1, 11, 24),)),
    Figure("10", "The landscape of a deep linear network", "dln", _TWO, (each_rate(row(*_LANDSCAPE)),)),
    Figure("11a", "Gradient difference against step length, VGG", "vgg", _TWO, (each_rate(*_BY_LENGTH),)),
    Figure(
        "11b", "Gradient difference against step length, deep linear network", "dln", _TWO,
        (each_rate(*_BY_LENGTH),),
    ),
    Figure(
        "12", "The landscape of VGG under five norms", "vgg", _FIVE,
        (each_rate(row(*_LANDSCAPE)),), wants=_is_l_p,
    ),
    Figure(
        "13", "The landscape of a deep linear network under five norms", "dln", _FIVE,
        (each_rate(row(*_LANDSCAPE)),), wants=_is_l_p,
    ),
)  # fmt: skip
"""Sources: docs/explanation/paper.md, section 1, and the paper's figures themselves."""


_COVERED: WeakKeyDictionary[ComparisonGroup, dict[str, ReportPicture]] = WeakKeyDictionary()


def figures_of(settings: Sequence[ComparisonGroup]) -> Iterator[ReportPicture]:
    """Every figure that the runs of at least one group cover, in the paper's order."""
    for figure in FIGURES:
        yield from (drawn[figure.number] for drawn in map(covered, settings) if figure.number in drawn)


def covered(setting: ComparisonGroup) -> dict[str, ReportPicture]:
    """The figures that the runs of a group cover, by number; cached for as long as the group lives."""
    if setting not in _COVERED:
        pictures = {figure.number: _picture(figure, setting) for figure in FIGURES}
        _COVERED[setting] = {number: picture for number, picture in pictures.items() if picture is not None}
    return _COVERED[setting]


def _picture(figure: Figure, setting: ComparisonGroup) -> ReportPicture | None:
    shown = _shown(figure, setting)
    if shown is None:
        return None
    plots = tuple(plot for panel in figure.panels for plot in panel(shown) if not plot.empty)
    if not plots or (figure.needs and not any(plot.y_name == figure.needs for plot in plots)):
        return None
    has_paper = any(curve.weight == "paper" for plot in plots for curve in plot.curves)
    return ReportPicture(
        name=f"fig{figure.number}",
        title=f"Fig {figure.number}: {figure.title}",
        setting=setting.title,
        panels=plots,
        legend=tuple(_legend(shown)),
        has_paper=has_paper,
        columns=_columns(plots),
        notes=(*CAVEATS.get(figure.number, ()), *((ONE_SEED,) if has_paper else ()), *_notes(shown, plots)),
    )


def _columns(plots: Sequence[ReportPanel]) -> int:
    """Number of columns: that of the longest row if it has at most `MOST_COLUMNS` panels, else three. Panels
    without rows get up to three columns."""
    starts = [index for index, plot in enumerate(plots) if plot.starts_row]
    if not starts:
        return min(3, len(plots))
    lengths_of_rows = [end - start for start, end in zip(starts, [*starts[1:], len(plots)], strict=True)]
    longest = max(lengths_of_rows)
    return longest if longest <= MOST_COLUMNS else 3


def _shown(figure: Figure, setting: ComparisonGroup) -> FigureRuns | None:
    """The group's runs that the figure draws; None if the network differs or the figure's subject is missing."""
    if setting.network != figure.network:
        return None
    runs = by_variant(
        run
        for run in setting.runs
        if (run.counts or run.unfinished)
        and run.variant.norm in figure.norms
        and (figure.noise or not run.variant.noise)
    )
    return FigureRuns(figure.number, setting, runs) if any(map(figure.wants, runs)) else None


def _legend(shown: FigureRuns) -> Iterator[LegendEntry]:
    for variant, seeds in shown.runs.items():
        number = f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}"
        yield LegendEntry(f"{shown.setting.label(variant)} ({number})", shown.setting.styles[variant])


def _notes(shown: FigureRuns, plots: Sequence[ReportPanel]) -> Iterator[str]:
    runs = shown.all_runs
    if shown.setting.synthetic:
        yield "Synthetic images: for looking at, not for conclusions."
    late = [f"{run.name} ({run.excluded_because})" for run in runs if run.unfinished]
    if late:
        yield f"Unfinished runs, drawn up to their last step; not evidence: {', '.join(late)}."
    gone = [f"{run.name} at step {run.view.step:,}" for run in runs if run.diverged]
    if gone:
        yield f"Diverged, drawn up to a cross, or left out of a mean from there on: {', '.join(gone)}."
    if max(map(len, shown.runs.values())) > 1:
        if not all(plot.first_seed for plot in plots):
            yield means_note(shown.setting.presentation)
        if any(plot.first_seed for plot in plots):
            yield FIRST_SEED
    if any(curve.label == RANGE for plot in plots for curve in plot.curves):
        yield BESIDE_PAPER


MOST = 16
"""Most runs or groups in one picture."""


def overviews(
    settings: Sequence[ComparisonGroup],
    others: Sequence[ReportRun],
    covered: set[str],
    presentation: Presentation = PLAIN,
) -> Iterator[ReportPicture]:
    """A picture of each group that no figure covers, that has a run which is not evidence, or whose runs the user
    groups by settings; and one of the runs that observed an external training loop.

    Arguments:
        covered: titles of the groups that a figure covers.
    """
    for number, setting in enumerate(settings, start=1):
        runs = list(setting.runs)
        apart = [run for run in runs if not run.counts]
        if setting.title in covered and not (apart or presentation.by):
            continue
        chosen = runs if setting.title not in covered else apart + [run for run in runs if run.counts]
        yield from _overview(f"runs{number}", setting.title, chosen, presentation)
    if others:
        yield from _overview("observed", "Training loops that were observed", others, presentation)


def _overview(
    name: str, title: str, runs: Sequence[ReportRun], presentation: Presentation
) -> Iterator[ReportPicture]:
    shown = list(_grouped(runs, presentation))[:MOST]
    plots = [plot for plot in _overview_panels([group for group, _ in shown], presentation) if not plot.empty]
    if not plots:
        return
    drawn = [run for _, together in shown for run in together]
    notes = [
        f"{run.name} is no evidence for its variant: {run.excluded_because}."
        for run in drawn
        if not run.counts
    ]
    means = any(len(together) > 1 for _, together in shown)
    if means:
        notes.append(means_note(presentation))
    if len(drawn) < len(runs):
        notes.append(f"{len(drawn)} of {len(runs)} runs are drawn.")
    legend = tuple(LegendEntry(_legend_label(group.name, runs), group.style) for group, runs in shown)
    heading = "Means over runs" if means else "Run by run"
    yield ReportPicture(name, heading, title, tuple(plots), legend, notes=tuple(notes))


def _legend_label(name: str, runs: Sequence[ReportRun]) -> str:
    """Label of a group in the legend."""
    if len(runs) > 1:
        return f"{name} ({len(runs)} runs)"
    reason = runs[0].excluded_because
    return f"{name} — {reason}" if reason else name


def _grouped(
    runs: Sequence[ReportRun], presentation: Presentation
) -> Iterator[tuple[Group, list[ReportRun]]]:
    """Runs that are evidence, in the same groups as in `show`; all other runs separately."""
    group_of = {view.run.path: group for group in presentation.groups for view in group.runs}
    by_group: dict[object, list[ReportRun]] = {}
    for run in runs:
        group = group_of.get(run.run.path)
        alone = group is None or presentation.single or not run.counts
        by_group.setdefault(run if alone else group, []).append(run)
    free = count(max((group.style for group in presentation.groups), default=-1) + 1)
    for key, together in by_group.items():
        name, style = (key.name, key.style) if isinstance(key, Group) else (together[0].name, next(free))
        yield Group(name, style, tuple(run.view for run in together)), together


def _overview_panels(groups: Sequence[Group], presentation: Presentation) -> Iterator[ReportPanel]:
    """One panel per measure in `SHOWN`; per-layer measures show the middle layer."""
    columns = [view.columns for group in groups for view in group.runs]
    marks = tuple(mark for one in groups for mark in departure_marks(one))
    for measure in SHOWN:
        layer, title = None, measure.title
        if measure.per_layer:
            layer = middle_layer(columns, measure)
            title = f"{title}, layer {layer}"
        if layer is not None or not measure.per_layer:
            curves = tuple(
                c for one in groups for c in curves_of(one, DrawnMeasure(measure, layer), presentation)
            )
            yield ReportPanel(title, curves, marks, log_y=measure.log, y_name=measure.symbol)
