"""C7 to C10: the theorems, as checked during runs and by `bnrun theory`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bncore.figure import Floats
from bncore.report.claims.comparing import BATCH, AtRate, at_each, has, probe_need
from bncore.report.claims.evidence import Claim, ClaimMeasure, ClaimPart, Need
from bncore.report.comparison_group import ComparisonGroup
from bncore.report.quantities import Quantity, level, of_values, probe_basis
from bncore.report.report_run import ReportRun

TABLE, BASIS = "probe:theory", probe_basis("theory")

ERRORS = {"float32": 1e-2, "float64": 1e-6}
"""Largest relative error at which an identity counts as exact in a run's precision; rounding alone costs a
difference of nearly equal numbers most of its digits."""

BELOW_ONE = "below 1 where γ² is below σ² + ε, or the gradient has large removed parts"


def _level(at: AtRate, name: str, of: Callable[[ReportRun], float | None], **more: Any) -> ClaimMeasure:
    return ClaimMeasure(name, level(Quantity(name, of, BASIS), at.of(BATCH)), signed=False, **more)


def _exact(field: str, statement: str) -> Callable[[AtRate], ClaimPart]:
    def part(at: AtRate) -> ClaimPart:
        name, within = f"largest relative error of {statement}", _tolerance(at.setting)
        error = _level(at, name, of_values(TABLE, field, by=_largest), side="below", threshold=within)
        return ClaimPart(f"{statement} holds as corrected", (error,))

    return part


def _tolerance(setting: ComparisonGroup) -> float:
    precisions = {run.spec.precision for run in setting.runs if run.spec}
    return ERRORS["float64" if precisions == {"float64"} else "float32"]  # precision of the probes


def _shrinks(at: AtRate) -> ClaimPart:
    smaller = _level(
        at, "‖∇_y L̂‖² / ‖∇_z L‖²", of_values(TABLE, "lipschitz_left", "lipschitz_plain", by=_log_ratio),
        side="below", ratio=True, caveat=BELOW_ONE,
    )  # fmt: skip
    reduced = _level(
        at, "the same without the factor γ²/σ²",
        of_values(TABLE, "lipschitz_left", "lipschitz_scale", by=_log_ratio),
        side="below", ratio=True, counts=False, caveat="below 1 by algebra, in any network",
    )  # fmt: skip
    printed = _level(
        at, "share of units where the printed form fails", of_values(TABLE, "printed_fails", by=np.mean),
        counts=False, caveat="as printed, with 1/√m for 1/m, the theorem is no upper bound",
    )  # fmt: skip
    return ClaimPart("the gradient at a layer's output shrinks", (smaller, reduced, printed))


def _lowers(at: AtRate) -> ClaimPart:
    name = "share of layers and steps in which the second term lowers the quadratic form"
    lowered = _level(
        at, name, of_values(TABLE, "hessian_correction", by=lambda a: (a > 0).mean()), threshold=0.5
    )
    return ClaimPart("the second term lowers the Hessian's quadratic form in most places", (lowered,))


def _bounded(at: AtRate) -> ClaimPart:
    name = "share of layers and steps in which the gradient exceeds the bound"
    broken = _level(
        at,
        name,
        of_values(TABLE, "worst_actual", "worst_bound", by=lambda a, b: (a > b).mean()),
        side="below",
        threshold=0.01,
    )
    return ClaimPart("the bound of Thm 4.4 holds as corrected", (broken,))


def _bounded_lower(at: AtRate) -> ClaimPart:
    lower = _level(
        at, "bound with BatchNorm / bound without", of_values(TABLE, "worst_bound", "worst_plain", by=_log_ratio),
        side="below", ratio=True, caveat=BELOW_ONE,
    )  # fmt: skip
    return ClaimPart("it is the lower one", (lower,))


def _largest(values: Floats) -> np.float64:
    return np.max(values, initial=-np.inf, where=np.isfinite(values))


def _log_ratio(over: Floats, under: Floats) -> Floats:
    return np.log10(over / under)


def _rates(setting: ComparisonGroup) -> list[float]:
    return setting.rates(*BATCH)


_NEEDS = (Need("networks with BatchNorm", has(BATCH)), probe_need("theory", "the theorems", ("batch",)))
_ONE_NETWORK = (
    "It compares gradients on the two sides of one normalization in one network; two networks that were "
    "trained apart are compared by C4 and C5."
)
LIPSCHITZ_CLAIM = Claim(
    "C7",
    "Lipschitzness with respect to activations improves",
    "Thm 4.1",
    at_each(_rates, _exact("lipschitz_error", "Thm 4.1"), _shrinks),
    _NEEDS,
    (
        "The factor γ²/(σ² + ε) is below 1 only where a layer's outputs spread wider than γ; the other terms "
        "only ever shrink the gradient.",
        "As printed, with 1/√m, the theorem fails; by the paper's own proof it is 1/m, and then an equality.",
        _ONE_NETWORK,
    ),
    short="Thm 4.1 (activations)",
)
HESSIAN_CLAIM = Claim(
    "C8",
    "Gradient predictiveness (the Hessian's quadratic form) improves",
    "Thm 4.2",
    at_each(_rates, _exact("hessian_error", "Thm 4.2"), _lowers),
    _NEEDS,
    (
        "The theorem is an equality for ε = 0. The review cites it together with Thm 4.4.",
        "Its second term lowers the form only where ⟨∇L, ŷ⟩ is positive, which is not promised.",
        _ONE_NETWORK,
    ),
    short="Thm 4.2 (Hessian)",
)
WORST_CASE_CLAIM = Claim(
    "C9",
    "Worst-case weight-space Lipschitzness improves",
    "Thm 4.4",
    at_each(_rates, _bounded, _bounded_lower),
    _NEEDS,
    (
        "The printed form is not consistent in powers: it is taken as eqs. 16 to 18 of its proof have it.",
        _ONE_NETWORK,
    ),
    short="Thm 4.4 (worst case)",
)
LEMMA_CLAIM = Claim(
    "C10",
    "The initialization is closer to an optimum",
    "Lemma 4.5",
    lambda _: (),
    (),
    (
        "The lemma's algebra is exact; its claim that such a point is an optimum of the network with "
        "BatchNorm is not.",
    ),
    resolved_elsewhere=(
        "No run can decide it: the lemma is about a point, not about training. `bnrun theory` checks its "
        "algebra (exact) and shows a network of one neuron in which the point in question is not an optimum "
        "(after arXiv 2502.17913)."
    ),
    short="Lemma 4.5 (initialization)",
)
