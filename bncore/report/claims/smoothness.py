"""C4 and C5: BatchNorm lowers the effective Lipschitz constant and beta-smoothness (Figs 4, 10, 11)."""

from __future__ import annotations

from typing import Any

from bncore.report.claims.comparing import BATCH, NONE, AtRate, at_each, has, probe_need, rates_measured
from bncore.report.claims.evidence import Claim, ClaimMeasure, ClaimPart, Need
from bncore.report.quantities import (
    EARLY,
    PerMeasurement,
    Quantity,
    Trace,
    late_reading,
    level,
    log_of,
    log_relative_at_lr,
    log_variation,
    mean_of,
    measured_as,
    probe_basis,
)

TABLE, BASIS = "probe:landscape", probe_basis("landscape")


def _along(name: str, of: PerMeasurement) -> Trace:
    """A trace of the landscape along the gradient; along any other direction it is not evidence."""
    return Trace(name, measured_as(TABLE, of), BASIS)


LIPSCHITZ = _along("effective Lipschitz constant max |ΔL|/(a‖g‖)", log_of(TABLE, "lipschitz"))
VARIATION = _along("variation of the loss along the gradient, max L − min L", log_variation)
DIFFERENCE = _along("largest Σ‖Δgᵢ‖ along the gradient", log_of(TABLE, "grad_diff_sum_max"))
WHOLE = _along("largest ‖Δg‖ along the gradient", log_of(TABLE, "grad_diff_max"))
RELATIVE = _along("‖Δg‖/‖g‖ at a ≈ lr", log_relative_at_lr)
BETA = _along("effective β-smoothness", log_of(TABLE, "beta"))
LATE_BETA = Quantity("effective β-smoothness, later", mean_of(BETA.of, first=EARLY), BASIS)
READING = Quantity("share of later measurements in which β is 2/lr or 1/a_min to 5 %", late_reading, BASIS)

READS_BACK = "late β reflects 2/lr (the edge of stability) or 1/a_min (where the probe saturates)"


def _lipschitz(at: AtRate) -> ClaimPart:
    return at.part_in_training("lower effective Lipschitz constant", _lower(at, LIPSCHITZ, VARIATION))


def _predictive(at: AtRate) -> ClaimPart:
    summed = _lower(at, DIFFERENCE)
    has_sum = any(measure.effect for measure in summed)
    measures = (*(summed if has_sum else _lower(at, WHOLE)), *_lower(at, RELATIVE))
    return at.part_in_training("more predictive gradients", measures)


def _smooth(at: AtRate) -> ClaimPart:
    apart: dict[str, Any] = {"counts": False, "caveat": READS_BACK}
    measures = (
        *_lower(at, BETA, until=EARLY),
        at.compare(LATE_BETA, BATCH, NONE, side="below", ratio=True, **apart),
        *(
            ClaimMeasure(f"{READING.name}, {norm[0]}", level(READING, at.of(norm)), signed=False, **apart)
            for norm in (NONE, BATCH)
        ),
    )
    return at.part_in_training("lower effective β-smoothness, early in training", measures)


def _lower(at: AtRate, *traces: Trace, until: float = 1.0) -> tuple[ClaimMeasure, ...]:
    return tuple(
        measure
        for trace in traces
        for measure in at.compare_in_training(trace, until=until, side="below", ratio=True)
    )


_NEEDS = (
    Need("networks without norm and with BatchNorm", has(NONE, BATCH)),
    probe_need("landscape", "the landscape along the gradient"),
)

LIPSCHITZ_CLAIM = Claim(
    "C4",
    "BatchNorm lowers the effective Lipschitz constant of the loss",
    "sections 3.1 and 3.2, Figs 4a and 10",
    at_each(rates_measured(TABLE), _lipschitz),
    _NEEDS,
    (
        "A network that has not left its start is on a plateau, where its loss is flat: only what follows counts.",
        "A network that trains faster has smaller losses and gradients at the same step, on which these "
        "measures depend: so they must agree at the same training loss.",
        "In the paper's Fig 10a (linear network) BatchNorm's band is the narrower one on the average of its "
        "logarithm, by the first 1,500 steps; at most later steps it is the wider one.",
    ),
    short="lower Lipschitz constant",
)
BETA_CLAIM = Claim(
    "C5",
    "BatchNorm makes gradients more predictive and lowers effective β-smoothness",
    "sections 3.1 and 3.2, Figs 4b, 4c, 10 and 11",
    at_each(rates_measured(TABLE), _predictive, _smooth),
    _NEEDS,
    (
        f"{READS_BACK[0].upper()}{READS_BACK[1:]}: at equal steps only the first fifth of a run counts for β.",
        "The paper's ‖Δg‖ is the sum over the parameters of the lengths of their differences [inferred]; runs "
        "that have not measured it are compared by the length of the whole difference.",
        "‖Δg‖ alone grows with the gradient; ‖Δg‖/‖g‖ is free of scale, so both must agree.",
    ),
    short="more predictive gradients, lower β",
)
