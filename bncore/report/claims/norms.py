"""C6: l_p normalization performs as well, without distributional stability (Figs 5, 6, 12, 13)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bncore.report.claims.comparing import BATCH, NONE, AtRate, common_rates, has, probe_need
from bncore.report.claims.evidence import Claim, ClaimPart, Need, Scope
from bncore.report.claims.noise import MEAN_DRIFT, VARIANCE_DRIFT
from bncore.report.claims.training import FINAL_ACCURACY, FINAL_LOG_LOSS, MEAN_ACCURACY, MEAN_GAIN
from bncore.report.comparison_group import ComparisonGroup

L_P = ("l1", "l2", "linf")
SAME_IN_DLN = (
    "with inputs of zero mean l2 is BatchNorm: a linear network on Gaussian data cannot distinguish them"
)


def scopes(setting: ComparisonGroup) -> tuple[Scope, ...]:
    """One scope per l_p norm and learning rate."""
    return tuple(
        Scope(f"{norm}, {at.title}", _parts(at, norm))
        for norm in L_P
        for at in (AtRate(setting, lr) for lr in common_rates(setting, BATCH, (norm, "")))
    )


def _parts(at: AtRate, norm: str) -> tuple[ClaimPart, ...]:
    ours, setting = (norm, ""), at.setting
    alike = norm == "l2" and setting.network == "dln"
    caveat = SAME_IN_DLN if alike else ""
    quantity, final = (MEAN_ACCURACY, FINAL_ACCURACY) if setting.images else (MEAN_GAIN, FINAL_LOG_LOSS)
    worse: dict[str, Any] = {} if setting.images else {"side": "below", "ratio": True}
    lost = at.share_of_gain(quantity, ours)
    good = (
        replace(lost, counts=not alike, caveat=caveat or lost.caveat),
        at.compare(final, ours, BATCH, counts=False, **worse),
        at.compare(final, ours, NONE, counts=False, **worse),
    )
    unstable = (
        at.compare(MEAN_DRIFT, ours, BATCH, ratio=True, counts=not alike, caveat=caveat),
        at.compare(VARIANCE_DRIFT, ours, BATCH, ratio=True, counts=not alike, caveat=caveat),
    )
    early = at.too_early(NONE, BATCH)
    return (
        ClaimPart("trains as well as BatchNorm", good, early, blocked=lost.caveat),
        ClaimPart("less stable distributions", unstable, early),
    )


CLAIM = Claim(
    "C6",
    "l_p normalization (p = 1, 2, ∞) does as well, without distributional stability",
    "section 3.3, Figs 5, 6, 12 and 13",
    scopes,
    (
        Need("no norm, BatchNorm and the norms l1, l2, l∞", has(NONE, BATCH, *((norm, "") for norm in L_P))),
        Need("them on images, where l2 and BatchNorm differ", has(BATCH, ("l2", ""), images=True)),
        probe_need("activations", "distributions of activations", ("batch", *L_P)),
    ),
    (
        f"{SAME_IN_DLN[0].upper()}{SAME_IN_DLN[1:]}, so l2 counts on images only.",
        "The paper prints no formula of its l_p norms: the literal, uncentred reading is used; "
        "norm.centred=true is the other one.",
    ),
    short="l_p norms do as well",
)
