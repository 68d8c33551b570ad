"""C11: the evidence that smoothing is *the* cause is weaker (the review of 2023): what the controls say."""

from __future__ import annotations

from bncore.report.claims.comparing import (
    AS_GOOD,
    common_rates,
    compare,
    has,
    probe_need,
    rate_title,
    untrained,
)
from bncore.report.claims.evidence import Claim, Measure, Need, Part, Scope
from bncore.report.claims.smoothness import EARLY_RELATIVE, RELATIVE, gradient_runs
from bncore.report.claims.training import BATCH, FINAL_ACCURACY, NONE
from bncore.report.quantities import level, values_of
from bncore.report.settings import Setting
from bncore.report.statistics import ENOUGH_SEEDS, paired

ENOUGH_RATES = 3
"""Fewest learning rates for a best one among them."""


def scopes(setting: Setting) -> tuple[Scope, ...]:
    """Whether an advantage is left at each network's own best rate, and whether it goes with smoothness."""
    if not setting.images or not common_rates(setting, NONE, BATCH):
        return ()
    lr = _lowest(setting)
    parts = (_best_rates(setting), _scale_free(setting, lr))
    return (Scope("", parts, alternatives=True),)


def _best_rates(setting: Setting) -> Part:
    title = "at each network's own best learning rate the plain one is as good"
    rates = {norm: setting.rates(*norm) for norm in (NONE, BATCH)}
    if min(map(len, rates.values())) < ENOUGH_RATES:
        return Part(title, (Measure(f"fewer than {ENOUGH_RATES} learning rates", None, side="below"),))
    best = {norm: _best(setting, norm) for norm in rates}
    effect = paired(
        values_of(FINAL_ACCURACY, setting.of(*BATCH, best[BATCH])),
        values_of(FINAL_ACCURACY, setting.of(*NONE, best[NONE])),
    )
    edge = [
        f"{norm[0]}'s best rate is the {'smallest' if best[norm] == rates[norm][0] else 'largest'} one tried"
        for norm in (NONE, BATCH)
        if best[norm] in (rates[norm][0], rates[norm][-1])
    ]
    name = f"{FINAL_ACCURACY.name}, batch at lr {best[BATCH]:g} − none at lr {best[NONE]:g}"
    chosen = "the rates were chosen by the same runs"
    return Part(title, (Measure(name, effect, "below", AS_GOOD, caveat="; ".join([chosen, *edge])),))


def _scale_free(setting: Setting, lr: float) -> Part:
    """An advantage in training without one in scale-free smoothness is not due to smoothness."""
    better = compare(setting, FINAL_ACCURACY, BATCH, NONE, lr, threshold=AS_GOOD, counts=False)
    if not gradient_runs(setting):
        smooth = Measure("‖Δg‖/‖g‖ at a ≈ lr, batch / none", None)
        return Part("an advantage without scale-free smoothness", (better, smooth))
    return Part(
        f"an advantage without scale-free smoothness, {rate_title(lr)}",
        (
            better,
            _where_better(better, compare(setting, RELATIVE, BATCH, NONE, lr, ratio=True)),
            compare(setting, EARLY_RELATIVE, BATCH, NONE, lr, ratio=True, counts=False),
        ),
        untrained(setting, NONE, BATCH, lr=lr),
    )


def _where_better(better: Measure, smooth: Measure) -> Measure:
    """Smoothness bears on the claim only where there is an advantage to be explained."""
    effect = better.effect
    advantage = effect is not None and effect.n >= ENOUGH_SEEDS and effect.low > AS_GOOD
    if advantage:
        return smooth
    return Measure(
        smooth.name, None, ratio=True, caveat="no clear advantage in training that smoothness could explain"
    )


def _lowest(setting: Setting) -> float:
    return common_rates(setting, NONE, BATCH)[0]


def _best(setting: Setting, norm: tuple[str, str]) -> float:
    """The learning rate at which a norm ends with the highest mean accuracy."""
    found = {lr: level(FINAL_ACCURACY, setting.of(*norm, lr)) for lr in setting.rates(*norm)}
    return max(found, key=lambda lr: -1.0 if (one := found[lr]) is None else one.mean)


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
    images_only=True,
)
