"""C11: the evidence that smoothing is *the* cause is weaker (review of 2023), judged by the controls."""

from __future__ import annotations

from bncore.report.claims.comparing import (
    BATCH,
    MOST_OF_IT,
    NONE,
    AtRate,
    common_rates,
    has,
    probe_need,
    rates_measured,
    usual_rate,
)
from bncore.report.claims.evidence import Claim, ClaimMeasure, ClaimPart, Need, Scope
from bncore.report.claims.smoothness import RELATIVE, TABLE
from bncore.report.claims.training import FINAL_ACCURACY, MEAN_ACCURACY
from bncore.report.comparison_group import ComparisonGroup
from bncore.report.quantities import level, values_of
from bncore.report.statistics import ENOUGH_SEEDS, paired, ratio_of_means

ENOUGH_RATES = 3
"""Fewest learning rates among which a best one is chosen."""


def scopes(setting: ComparisonGroup) -> tuple[Scope, ...]:
    """Whether an advantage remains at each network's own best rate, and whether it comes with smoothness."""
    if not setting.images or not common_rates(setting, NONE, BATCH):
        return ()
    at = AtRate(setting, usual_rate(setting, common_rates(setting, NONE, BATCH)))
    return (Scope("", (_best_rates(at), _scale_free(at)), alternatives=True),)


def _best_rates(at: AtRate) -> ClaimPart:
    title = "at each network's own best learning rate most of the advantage is gone"
    setting, lr = at.setting, at.lr
    rates = {norm: setting.rates(*norm) for norm in (NONE, BATCH)}
    if min(map(len, rates.values())) < ENOUGH_RATES:
        few = ClaimMeasure(f"fewer than {ENOUGH_RATES} learning rates", None, side="below")
        return ClaimPart(title, (few,))
    best = {norm: _best(setting, norm) for norm in rates}
    left = paired(*(values_of(MEAN_ACCURACY, setting.of(*norm, best[norm])) for norm in (BATCH, NONE)))
    gain = paired(*(values_of(MEAN_ACCURACY, at.of(norm)) for norm in (BATCH, NONE)))
    effect = ratio_of_means(dict(left.values), dict(gain.values)) if left and gain else None
    edge = [
        f"{norm[0]}'s best rate is the {'smallest' if best[norm] == rates[norm][0] else 'largest'} one tried"
        for norm in (NONE, BATCH)
        if best[norm] in (rates[norm][0], rates[norm][-1])
    ]
    name = (
        f"share of the advantage at lr {lr:g} that is left, batch at lr {best[BATCH]:g} − none at lr "
        f"{best[NONE]:g}, {MEAN_ACCURACY.name}"
    )
    chosen = "the rates were chosen by the same runs"
    nothing = "" if effect or not gain else f"BatchNorm has no clear advantage at lr {lr:g}"
    caveat = "; ".join([chosen, *edge])
    measure = ClaimMeasure(name, effect, "below", MOST_OF_IT, signed=False, caveat=caveat)
    early = AtRate(setting, best[NONE]).too_early(NONE, BATCH)
    return ClaimPart(title, (measure,), early, blocked=nothing)


def _scale_free(at: AtRate) -> ClaimPart:
    """An advantage in training without one in scale-free smoothness is not due to smoothness."""
    better = at.compare(MEAN_ACCURACY, BATCH, NONE, counts=False)
    if at.lr not in rates_measured(TABLE)(at.setting):
        smooth = ClaimMeasure("‖Δg‖/‖g‖ at a ≈ lr, batch / none", None)
        return ClaimPart("an advantage without scale-free smoothness", (better, smooth))
    smoother = at.compare_in_training(RELATIVE, ratio=True)
    part = at.part_in_training("", smoother)
    title = f"an advantage without scale-free smoothness, {at.title}"
    advantage = better.effect is not None and better.effect.n >= ENOUGH_SEEDS and better.effect.low > 0
    nothing = "" if advantage else "no clear advantage in training that smoothness could explain"
    return ClaimPart(title, (better, *smoother), part.early, blocked=nothing or part.blocked)


def _best(setting: ComparisonGroup, norm: tuple[str, str]) -> float:
    """The learning rate at which a norm reaches the highest mean final accuracy."""
    levels = {lr: level(FINAL_ACCURACY, setting.of(*norm, lr)) for lr in setting.rates(*norm)}
    return max(levels, key=lambda lr: -1.0 if (one := levels[lr]) is None else one.mean)


CLAIM = Claim(
    "C11",
    "The evidence that smoothing is the cause is weaker: confounders are not excluded",
    "review",
    scopes,
    (
        Need("networks without norm and with BatchNorm, on images", has(NONE, BATCH, images=True)),
        Need(
            f"both at {ENOUGH_RATES} learning rates or more, for the best of each",
            has(NONE, BATCH, rates=ENOUGH_RATES, images=True),
        ),
        probe_need("landscape", "the landscape along the gradient"),
    ),
    (
        "One control that explains the advantage is enough for it; none that does is no proof of the "
        "contrary: against it stands only what these controls can exclude.",
        "Norms that smooth as much but train worse, or the reverse, are in the table of variants.",
    ),
    short="smoothing may not be the cause",
)
