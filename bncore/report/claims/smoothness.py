"""C4 and C5: BatchNorm lowers the effective Lipschitz constant and beta-smoothness (Figs 4, 10, 11)."""

from __future__ import annotations

from collections.abc import Callable

from bncore.report.claims.comparing import common_rates, compare, has, probe_need, rate_title, untrained
from bncore.report.claims.evidence import Claim, Measure, Need, Part, Scope
from bncore.report.claims.training import BATCH, NONE
from bncore.report.quantities import (
    EARLY,
    Quantity,
    as_in_the_paper,
    late_reading,
    level,
    log_band,
    log_relative_at_lr,
    mean_log,
    measured_as,
    probe_basis,
)
from bncore.report.runs import ReportRun
from bncore.report.settings import Setting

TABLE, BASIS = "probe:landscape", probe_basis("landscape")


def _along(name: str, of: Callable[[ReportRun], float | None]) -> Quantity:
    """A quantity of the landscape along the gradient: along another direction it is no evidence."""
    return Quantity(name, measured_as(TABLE, of), BASIS)


LIPSCHITZ = _along("effective Lipschitz constant max |ΔL|/(a‖g‖)", mean_log(TABLE, "lipschitz"))
BAND = _along("width of the loss band over the loss", log_band)
DIFFERENCE = _along("largest ‖Δg‖ along the gradient", mean_log(TABLE, "grad_diff_max"))
RELATIVE = _along("‖Δg‖/‖g‖ at a ≈ lr", log_relative_at_lr())
EARLY_RELATIVE = _along("‖Δg‖/‖g‖ at a ≈ lr, early", log_relative_at_lr(last=EARLY))
EARLY_BETA = _along("effective β, early", mean_log(TABLE, "beta", last=EARLY))
LATE_BETA = _along("effective β, later", mean_log(TABLE, "beta", first=EARLY))
READING = _along("share of later measurements in which β is 2/lr or 1/a_min to 5 %", late_reading)

READS_BACK = "late β reads back 2/lr (the edge of stability) or 1/a_min (where the probe saturates)"


def lipschitz_scopes(setting: Setting) -> tuple[Scope, ...]:
    """C4, at each learning rate."""
    return tuple(
        Scope(
            rate_title(lr),
            (
                Part(
                    "lower effective Lipschitz constant",
                    (
                        compare(setting, LIPSCHITZ, BATCH, NONE, lr, side="below", ratio=True),
                        compare(setting, BAND, BATCH, NONE, lr, side="below", ratio=True, counts=False),
                    ),
                    untrained(setting, NONE, BATCH, lr=lr),
                ),
            ),
        )
        for lr in _rates(setting)
    )


def beta_scopes(setting: Setting) -> tuple[Scope, ...]:
    """C5, at each learning rate."""
    return tuple(
        Scope(rate_title(lr), (_predictive(setting, lr), _smooth(setting, lr))) for lr in _rates(setting)
    )


def gradient_runs(setting: Setting) -> bool:
    """Whether some run has looked along the gradient."""
    return any(
        run.spec.probes.landscape.every and as_in_the_paper(run, TABLE) for run in setting.counted if run.spec
    )


def _rates(setting: Setting) -> list[float]:
    return common_rates(setting, NONE, BATCH) if gradient_runs(setting) else []


def _predictive(setting: Setting, lr: float) -> Part:
    return Part(
        "more predictive gradients",
        (
            compare(setting, DIFFERENCE, BATCH, NONE, lr, side="below", ratio=True),
            compare(setting, RELATIVE, BATCH, NONE, lr, side="below", ratio=True),
        ),
        untrained(setting, NONE, BATCH, lr=lr),
    )


def _smooth(setting: Setting, lr: float) -> Part:
    later = compare(
        setting, LATE_BETA, BATCH, NONE, lr, side="below", ratio=True, counts=False, caveat=READS_BACK
    )
    readings = tuple(
        Measure(
            f"{READING.name}, {norm[0]}",
            level(READING, setting.of(*norm, lr)),
            counts=False,
            signed=False,
            caveat=READS_BACK,
        )
        for norm in (NONE, BATCH)
    )
    early = compare(setting, EARLY_BETA, BATCH, NONE, lr, side="below", ratio=True)
    stuck = untrained(setting, NONE, BATCH, lr=lr)
    return Part("lower effective β, early in training", (early, later, *readings), stuck)


_NEEDS = (
    Need("networks without norm and with BatchNorm", has(NONE, BATCH)),
    probe_need("landscape", "the landscape along the gradient"),
)

LIPSCHITZ_CLAIM = Claim(
    "C4",
    "BatchNorm lowers the effective Lipschitz constant of the loss",
    "sections 3.1 and 3.2, Figs 4a and 10",
    lipschitz_scopes,
    _NEEDS,
    (
        "A network that does not train sits on a plateau, where its loss is flat: such runs settle nothing.",
        "Whoever trains faster has smaller losses and gradients at the same step, which this measure is "
        "made of.",
    ),
)
BETA_CLAIM = Claim(
    "C5",
    "BatchNorm makes gradients more predictive and lowers effective β-smoothness",
    "sections 3.1 and 3.2, Figs 4b, 4c, 10 and 11",
    beta_scopes,
    _NEEDS,
    (
        f"{READS_BACK[0].upper()}{READS_BACK[1:]}: only the first fifth of a run counts for β.",
        "‖Δg‖ alone grows with the gradient; ‖Δg‖/‖g‖ is free of scale, so both must agree.",
    ),
)
