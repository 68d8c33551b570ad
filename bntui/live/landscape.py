"""Charts of the landscape probe: bands along the gradient, effective beta, and the gradient against the length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bncore.config.stability import threshold_label
from bncore.figure import ChartData, Curve, HLine
from bncore.follow.run_view import RunView
from bncore.store.columns import Columns
from bncore.store.thresholds import thresholds
from bntui.live.drawing import (
    Floats,
    Line,
    Measure,
    Panel,
    PanelState,
    curve_of,
    marks,
    row_at,
    rows,
    take,
    why_empty,
)
from bntui.live.reference import overlay

TABLE = "probe:landscape"


def loss_band(views: Sequence[RunView], state: PanelState) -> ChartData:
    """Smallest and largest loss over the step lengths (Fig 4a)."""
    curves = _bands(views, "loss_min", "loss_max")
    return ChartData(
        f"Loss along the gradient{lengths(views)}",
        (*curves, *overlay("loss_band", views, state)),
        marks(views),
        log_y=True,
        note=why_empty(views, TABLE),
    )


def gradient_predictiveness(views: Sequence[RunView], state: PanelState) -> ChartData:
    """Smallest and largest change of the gradient over the step lengths (Fig 4b)."""
    name, symbol = difference(views, state)
    curves = _bands(views, f"{name}_min", f"{name}_max", floor="floor" if name == "grad_diff" else "")
    return ChartData(
        f"Gradient change {symbol}{lengths(views)}",
        (*curves, *overlay("gradient_predictiveness", views, state)),
        marks(views),
        log_y=True,
        note=why_empty(views, TABLE),
    )


def effective_beta(views: Sequence[RunView], state: PanelState) -> ChartData:
    """max ‖Δg‖ / (a ‖g‖), with what it reads back late: the optimizer's stability threshold, and 1/a_min, where it
    saturates (Fig 4c)."""
    curves = _lines(views, Measure(TABLE, "beta"))
    return ChartData(
        "Effective β",
        (*curves, *overlay("beta", views, state)),
        marks(views),
        beta_rules(views),
        log_y=True,
        note=why_empty(views, TABLE),
    )


def effective_lipschitz(views: Sequence[RunView], state: PanelState) -> ChartData:
    """max |ΔL| / (a ‖g‖)."""
    return ChartData(
        "Effective Lipschitz constant",
        _lines(views, Measure(TABLE, "lipschitz")),
        marks(views),
        log_y=True,
        note=why_empty(views, TABLE),
    )


def sharpness(views: Sequence[RunView], state: PanelState) -> ChartData:
    """The largest Hessian eigenvalue, with where the optimizer's updates of a quadratic turn unstable."""
    table = "probe:sharpness"
    rules = _rules([rule for view in views for rule in threshold_rule(view, table)])
    curves = _lines(views, Measure(table, "eigenvalue"))
    return ChartData("Sharpness λ_max", curves, marks(views), rules, log_y=True, note=why_empty(views, table))


def relative_by_length(views: Sequence[RunView], state: PanelState) -> ChartData:
    """‖Δg‖/‖g‖ against the step length, at one measurement: neither saturates nor reads back the rate."""
    curves = _by_length(views, "relative", state)
    edges = {edge for view in views if (edge := edge_at_lr(view)) is not None} if curves else set()
    rules = tuple(HLine(edge, f"{edge:.3g}, at a = lr the edge of stability") for edge in sorted(edges))
    title = f"‖Δg‖/‖g‖ by step length{_when(views, state)}"
    note = why_empty(views, TABLE)
    return ChartData(title, curves, (), rules, log_y=True, log_x=True, x_name="step length", note=note)


def difference_by_length(views: Sequence[RunView], state: PanelState) -> ChartData:
    """‖Δg‖ against the step length, at one measurement (Fig 11)."""
    name, symbol = difference(views, state)
    curves = (*_by_length(views, name, state), *overlay("difference_by_length", views, state))
    title = f"{symbol} by step length{_when(views, state)}"
    note = why_empty(views, TABLE)
    return ChartData(title, curves, log_y=True, log_x=True, x_name="step length", note=note)


def difference(views: Sequence[RunView], state: PanelState) -> tuple[str, str]:
    """Field and symbol of the gradient's difference: its length; beside the paper's curves, which are sums over
    the parameters, that sum, where every run has measured it."""
    summed = "grad_diff_sum"
    if state.reference is not None and all(summed in view.columns.fields(TABLE) for view in views):
        return summed, "Σ‖Δgᵢ‖"
    return "grad_diff", "‖Δg‖"


def beta_rules(views: Sequence[RunView]) -> tuple[HLine, ...]:
    """Stability threshold and 1/a_min of the runs' newest measurements, each value once."""
    found = []
    for view in views:
        lr, multiples = newest_lr(view.columns), view.columns.series(TABLE, "multiples").values
        if lr and multiples.ndim == 2:
            found += threshold_rule(view, TABLE)
            found.append((1 / (float(multiples[-1].min()) * lr), "1/a_min"))
    return _rules(found)


def threshold_rule(view: RunView, table: str) -> list[tuple[float, str]]:
    """The stability threshold at a probe's newest measurement, ``2/lr`` for gradient descent; none where the
    optimizer has none."""
    lr, values = newest_lr(view.columns, table), thresholds(view.columns, table, view.settled)[1]
    if not lr or not len(values) or not 0 < values[-1] < np.inf:
        return []
    return [(float(values[-1]), threshold_label(float(values[-1]), 2 / lr))]


def edge_at_lr(view: RunView) -> float | None:
    """‖Δg‖/‖g‖ of a quadratic at a = lr on the edge of stability, to three digits: 2 for gradient descent."""
    lr, found = newest_lr(view.columns), threshold_rule(view, TABLE)
    return float(f"{found[0][0] * lr:.3g}") if lr and found else None


def newest_lr(columns: Columns, table: str = TABLE) -> float | None:
    """The learning rate of a probe's newest measurement, which step lengths are multiples of."""
    values = columns.series(table, "two_over_lr").values
    return _lr(float(values[-1])) if values.ndim == 1 and len(values) else None


def lengths(views: Sequence[RunView]) -> str:
    """``, a ∈ 0.5…4·lr`` where all the runs have the same step lengths; else nothing."""
    found = {
        (float(values[-1].min()), float(values[-1].max()))
        for view in views
        if (values := view.columns.series(TABLE, "multiples").values).ndim == 2
    }
    if len(found) != 1:
        return ""
    low, high = found.pop()
    return f", a ∈ {low:.3g}…{high:.3g}·lr"


def _lines(views: Sequence[RunView], measure: Measure) -> tuple[Curve, ...]:
    return tuple(c for view in views for c in curve_of(views, view, take(view.columns, measure)))


def _bands(views: Sequence[RunView], low: str, high: str, floor: str = "") -> tuple[Curve, ...]:
    return tuple(
        curve
        for view in views
        for curve in curve_of(
            views,
            view,
            take(view.columns, Measure(TABLE, low)),
            take(view.columns, Measure(TABLE, high)),
            take(view.columns, Measure(TABLE, floor)) if floor else None,
        )
    )


def _by_length(views: Sequence[RunView], field: str, state: PanelState) -> tuple[Curve, ...]:
    found = ((view, _at_lengths(view.columns, field, state.step)) for view in views)
    return tuple(
        Curve(view.name, view.style, line.x, line.y, line.y, diverged=view.state == "diverged")
        for view, line in found
        if len(line.x)
    )


def _at_lengths(columns: Columns, field: str, step: float | None) -> Line:
    """A field (n, lengths) of the measurement at `step` over the lengths, ascending."""
    steps, values = rows(columns, Measure(TABLE, field))
    _, multiples = rows(columns, Measure(TABLE, "multiples"))
    _, two_over_lr = rows(columns, Measure(TABLE, "two_over_lr"))
    if values.ndim != 2 or multiples.shape != values.shape or len(two_over_lr) != len(values):
        return Line(np.empty(0), np.empty(0))
    at = row_at(steps, step)
    x: Floats = multiples[at] * (_lr(float(two_over_lr[at])) or np.nan)
    order = np.argsort(x)
    known = order[np.isfinite(x[order])]
    return Line(x[known], values[at][known])


def _lr(two_over_lr: float) -> float | None:
    return 2 / two_over_lr if np.isfinite(two_over_lr) and two_over_lr > 0 else None


def _when(views: Sequence[RunView], state: PanelState) -> str:
    """``, step 4,800``: of the measurements drawn, where they are of one step."""
    steps = [rows(view.columns, Measure(TABLE, "grad_diff"))[0] for view in views]
    at = {int(found[row_at(found, state.step)]) for found in steps if len(found)}
    return f", step {at.pop():,}" if len(at) == 1 else ""


def _rules(found: Sequence[tuple[float, str]]) -> tuple[HLine, ...]:
    """Each value once, with everything it is; a weight decay's share of a threshold makes no line of its own."""
    texts: dict[float, list[str]] = {}
    for y, text in found:
        near = next((known for known in texts if abs(known - y) <= 1e-3 * abs(known)), y)
        if text not in texts.setdefault(near, []):
            texts[near].append(text)
    return tuple(HLine(y, " = ".join(names)) for y, names in texts.items())


LANDSCAPE_PANELS = (
    Panel("loss_band", "Loss along the gradient", loss_band),
    Panel("gradient_predictiveness", "Gradient predictiveness", gradient_predictiveness),
    Panel("beta", "Effective β", effective_beta),
    Panel("lipschitz", "Effective Lipschitz constant", effective_lipschitz),
    Panel("relative_by_length", "‖Δg‖/‖g‖ by step length", relative_by_length),
    Panel("difference_by_length", "‖Δg‖ by step length", difference_by_length),
    Panel("sharpness", "Sharpness", sharpness),
)
