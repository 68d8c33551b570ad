"""Every claim of the paper and of its review, in order."""

from __future__ import annotations

from collections.abc import Sequence

from bncore.report.claims import causes, noise, norms, shift, smoothness, theorems, training
from bncore.report.claims.evidence import Claim, ClaimVerdict
from bncore.report.claims.judging import judge
from bncore.report.comparison_group import ComparisonGroup

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


def judge_all(settings: Sequence[ComparisonGroup]) -> tuple[ClaimVerdict, ...]:
    """The verdict on every claim."""
    return tuple(judge(claim, settings) for claim in CLAIMS)
