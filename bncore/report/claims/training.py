"""C1: BatchNorm trains faster and tolerates larger learning rates (Fig 1)."""

from __future__ import annotations

from typing import Any

from bncore.report.claims.comparing import BATCH, NONE, AtRate, common_rates, has, rate_title, usual_rate
from bncore.report.claims.evidence import Claim, ClaimMeasure, ClaimPart, Need, Scope
from bncore.report.comparison_group import ComparisonGroup
from bncore.report.quantities import (
    Quantity,
    final_accuracy,
    final_log_loss,
    mean_accuracy,
    mean_log_gain,
    mean_log_loss,
    values_of,
)
from bncore.report.statistics import paired

MEAN_ACCURACY = Quantity("training accuracy averaged over the run", mean_accuracy)
FINAL_ACCURACY = Quantity("final training accuracy", final_accuracy)
MEAN_LOG_LOSS = Quantity("loss averaged over the run, log10", mean_log_loss)
MEAN_GAIN = Quantity("−log10 of the loss averaged over the run", mean_log_gain)
FINAL_LOG_LOSS = Quantity("final loss", final_log_loss)


def scopes(setting: ComparisonGroup) -> tuple[Scope, ...]:
    """Training speed at the smallest common learning rate at which the plain network trains, and how much the
    largest rate costs each network."""
    rates = common_rates(setting, NONE, BATCH)
    if not rates:
        return ()
    at = AtRate(setting, usual_rate(setting, rates))
    return (Scope("", (_faster(at), _tolerant(at, max(rates)))),)


def _faster(at: AtRate) -> ClaimPart:
    if at.setting.images:
        measure = at.compare(MEAN_ACCURACY, BATCH, NONE)
    else:
        measure = at.compare(MEAN_LOG_LOSS, BATCH, NONE, side="below", ratio=True)
    return ClaimPart(f"faster at {at.title}", (measure,), at.too_early(NONE))


def _tolerant(at: AtRate, high: float) -> ClaimPart:
    """The change from this rate to the largest one, batch minus none."""
    setting, low = at.setting, at.lr
    if high == low:
        return ClaimPart("tolerates larger learning rates", (ClaimMeasure("one learning rate only", None),))
    quantity = FINAL_ACCURACY if setting.images else FINAL_LOG_LOSS
    mine, theirs = (
        paired(*(values_of(quantity, setting.of(*norm, lr)) for lr in (high, low))) for norm in (BATCH, NONE)
    )
    effect = paired(dict(mine.values), dict(theirs.values)) if mine and theirs else None
    name = f"change of {quantity.name} from {rate_title(low)} to {high:g}, batch − none"
    own = f"change of {quantity.name} of batch itself from {rate_title(low)} to {high:g}"
    better: dict[str, Any] = {"side": "above" if setting.images else "below", "ratio": not setting.images}
    measure = ClaimMeasure(name, effect, **better)
    keeps = ClaimMeasure(own, mine, counts=False, **better)
    return ClaimPart("tolerates larger learning rates", (measure, keeps), at.too_early(NONE))


CLAIM = Claim(
    "C1",
    "BatchNorm trains faster and tolerates larger learning rates",
    "Fig 1",
    scopes,
    (
        Need("networks without norm and with BatchNorm", has(NONE, BATCH)),
        Need("both at two learning rates or more", has(NONE, BATCH, rates=2)),
    ),
    (
        "A run that diverged counts as one that learnt nothing, with the values it began with.",
        "Two rates are not a search: the plain network's best rate may be between or below them (see C11).",
    ),
    short="faster, tolerates larger rates",
)
