"""C3: BatchNorm does not reduce internal covariate shift and can increase it (Fig 3)."""

from __future__ import annotations

from bncore.report.claims.comparing import BATCH, NONE, AtRate, at_each, has, probe_need, rates_measured
from bncore.report.claims.evidence import Claim, ClaimPart, Need
from bncore.report.quantities import Trace, log_of, measured_as, plain_of, probe_basis

TABLE, BASIS = "probe:ics", probe_basis("ics")
ANGLE = Trace("ICS as 1 − cos(G, G′)", measured_as(TABLE, plain_of(TABLE, "one_minus_cosine")), BASIS)
RELATIVE = Trace("ICS as ‖G − G′‖/‖G‖", measured_as(TABLE, log_of(TABLE, "relative")), BASIS)
LENGTH = Trace("ICS as ‖G − G′‖", measured_as(TABLE, log_of(TABLE, "l2")), BASIS)

SAME_ANGLE = 0.05
"""Means of 1 - cos closer than this count as equal: in the panels where the paper sees no reduction, they are up
to 0.047 smaller with BatchNorm (Fig 3b at equal steps; 0.041 in Fig 3a, lr 0.1, at equal training accuracy)."""
SAME_RATIO = 0.05
"""The same margin for ||G - G'||/||G||, as log10; the paper does not draw it. For gradients of equal length it is
sqrt(2 (1 - cos)); at 1 - cos = 0.2 the margin above makes a difference of this size."""


def _not_reduced(at: AtRate) -> ClaimPart:
    mixed = "mixes ICS with the size of the update and of the gradient"
    measures = (
        *at.compare_in_training(ANGLE, threshold=-SAME_ANGLE),
        *at.compare_in_training(RELATIVE, threshold=-SAME_RATIO, ratio=True),
        *at.compare_in_training(LENGTH, ratio=True, counts=False, caveat=mixed),
    )
    return at.part_in_training("not reduced", measures)


CLAIM = Claim(
    "C3",
    "BatchNorm does not reduce internal covariate shift (ICS), it can raise it",
    "section 2.2, Fig 3",
    at_each(rates_measured(TABLE), _not_reduced),
    (
        Need("networks without norm and with BatchNorm", has(NONE, BATCH)),
        probe_need("ics", "ICS"),
    ),
    (
        "‖G − G′‖ mixes ICS with the size of the update: only the scale-free measures count here.",
        "“Almost no ICS in the plain linear network” holds at lr 1e-7 only; the paper's own layer-17 cosine "
        "at 1e-6 is about −0.98.",
        "Means over all layers but the first, of which nothing can shift, and over the measurements between "
        "the plateau of the start and the fitted data.",
        "In the paper's own panels for VGG at lr 0.01 BatchNorm has the smaller angles over the whole run, since "
        "it has fitted its data after a quarter of it; while both train it has the larger ones.",
    ),
    short="does not reduce ICS",
)
