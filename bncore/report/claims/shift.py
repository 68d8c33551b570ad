"""C3: BatchNorm does not reduce internal covariate shift, it can raise it (Fig 3)."""

from __future__ import annotations

from bncore.report.claims.comparing import common_rates, compare, has, probe_need, rate_title, untrained
from bncore.report.claims.evidence import Claim, Need, Part, Scope
from bncore.report.claims.training import BATCH, NONE
from bncore.report.quantities import Quantity, mean_log, mean_plain, measured_as, probe_basis
from bncore.report.settings import Setting

TABLE, BASIS = "probe:ics", probe_basis("ics")
ANGLE = Quantity("ICS as 1 − cos(G, G′)", measured_as(TABLE, mean_plain(TABLE, "one_minus_cosine")), BASIS)
RELATIVE = Quantity("ICS as ‖G − G′‖/‖G‖", measured_as(TABLE, mean_log(TABLE, "relative")), BASIS)
LENGTH = Quantity("ICS as ‖G − G′‖", measured_as(TABLE, mean_log(TABLE, "l2")), BASIS)

SAME_ANGLE = 0.02
"""Angles 1 − cos nearer than this count as equal."""
SAME_RATIO = 0.05
"""As log10: ratios within 12 % count as equal."""


def scopes(setting: Setting) -> tuple[Scope, ...]:
    """One for each learning rate: the paper's findings differ between them."""
    return tuple(
        Scope(rate_title(lr), (_not_reduced(setting, lr),)) for lr in common_rates(setting, NONE, BATCH)
    )


def _not_reduced(setting: Setting, lr: float) -> Part:
    return Part(
        "not reduced",
        (
            compare(setting, ANGLE, BATCH, NONE, lr, threshold=-SAME_ANGLE),
            compare(setting, RELATIVE, BATCH, NONE, lr, threshold=-SAME_RATIO, ratio=True),
            compare(
                setting, LENGTH, BATCH, NONE, lr, ratio=True, counts=False,
                caveat="mixes ICS with the size of the update and of the gradient",
            ),
        ),
        untrained(setting, NONE, BATCH, lr=lr),
    )  # fmt: skip


CLAIM = Claim(
    "C3",
    "BatchNorm does not reduce internal covariate shift (ICS), it can raise it",
    "section 2.2, Fig 3",
    scopes,
    (
        Need("networks without norm and with BatchNorm", has(NONE, BATCH)),
        probe_need("ics", "ICS"),
    ),
    (
        "‖G − G′‖ mixes ICS with the size of the update: only the scale-free measures count here.",
        "“Almost no ICS in the plain linear network” holds at lr 1e-7 only; the paper's own layer-17 cosine "
        "at 1e-6 is about −0.98.",
        "Means over all layers but the first, of which nothing can shift, and over all measurements, dense "
        "ones at the beginning included.",
    ),
)
