"""Every claim of the paper and of its review, in order."""

from __future__ import annotations

from collections.abc import Sequence

from bncore.report.claims import causes, noise, norms, shift, smoothness, theorems, training
from bncore.report.claims.evidence import Claim, Weighed
from bncore.report.claims.weighing import weigh
from bncore.report.settings import Setting

CLAIMS: tuple[Claim, ...] = (
    training.CLAIM,
    noise.CLAIM,
    shift.CLAIM,
    smoothness.LIPSCHITZ_CLAIM,
    smoothness.BETA_CLAIM,
    norms.CLAIM,
    theorems.LIPSCHITZ_CLAIM,
    theorems.HESSIAN_CLAIM,
    theorems.WORST_CASE_CLAIM,
    theorems.LEMMA_CLAIM,
    causes.CLAIM,
)


def weigh_all(settings: Sequence[Setting]) -> tuple[Weighed, ...]:
    """The verdict on every claim."""
    return tuple(weigh(claim, settings) for claim in CLAIMS)
