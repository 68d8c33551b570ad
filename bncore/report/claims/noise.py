"""C2: noise behind BatchNorm destroys stability without harm, and stops the plain network (Fig 2)."""

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
from bncore.report.claims.training import BATCH, FINAL_ACCURACY, NONE
from bncore.report.quantities import Quantity, learnt, level, mean_log, probe_basis
from bncore.report.settings import Setting

NOISY_BATCH, NOISY_NONE = ("batch", "noise"), ("none", "noise")
NOISY_NONE_RELATIVE = ("none", "noise relative")

MEAN_DRIFT = Quantity(
    "|Δμ| of the layers' outputs between measurements",
    mean_log("probe:activations", "mean_step"),
    probe_basis("activations"),
)
VARIANCE_DRIFT = Quantity(
    "|Δσ²| of the layers' outputs between measurements",
    mean_log("probe:activations", "variance_step"),
    probe_basis("activations"),
)
LEARNT = Quantity("training accuracy gained", learnt)

UNFAIR = (
    "the noise is of absolute size: it is larger, relatively, where activations are small, so the comparison "
    "is not of equal disturbances; noise.amplitude=relative makes it so"
)


def scopes(setting: Setting) -> tuple[Scope, ...]:
    """One for each learning rate at which BatchNorm was run with noise and without."""
    if not setting.images:
        return ()
    return tuple(
        Scope(rate_title(lr), (_unstable(setting, lr), _unharmed(setting, lr), _stopped(setting, lr)))
        for lr in common_rates(setting, BATCH, NOISY_BATCH)
    )


def _unstable(setting: Setting, lr: float) -> Part:
    return Part(
        "noise destroys stability",
        (
            compare(setting, MEAN_DRIFT, NOISY_BATCH, BATCH, lr, ratio=True),
            compare(setting, VARIANCE_DRIFT, NOISY_BATCH, BATCH, lr, ratio=True),
            compare(setting, MEAN_DRIFT, NOISY_BATCH, NONE, lr, ratio=True, counts=False),
        ),
    )


def _unharmed(setting: Setting, lr: float) -> Part:
    return Part(
        "training is as good all the same",
        (
            compare(setting, FINAL_ACCURACY, NOISY_BATCH, BATCH, lr, threshold=-AS_GOOD),
            compare(setting, FINAL_ACCURACY, NOISY_BATCH, NONE, lr, counts=False),
        ),
    )


def _stopped(setting: Setting, lr: float) -> Part:
    harmed = compare(
        setting, FINAL_ACCURACY, NOISY_NONE, NONE, lr, side="below", threshold=-AS_GOOD, caveat=UNFAIR
    )
    gained = Measure(
        f"{LEARNT.name}, none + noise",
        level(LEARNT, setting.of(*NOISY_NONE, lr)),
        side="below",
        threshold=AS_GOOD,
        signed=False,
        caveat=UNFAIR,
    )
    fair = compare(
        setting, FINAL_ACCURACY, NOISY_NONE_RELATIVE, NONE, lr, side="below", threshold=-AS_GOOD, counts=False,
        caveat="the same relative amplitude: the fair comparison",
    )  # fmt: skip
    return Part(
        "the same noise stops the plain network", (harmed, gained, fair), untrained(setting, NONE, lr=lr)
    )


CLAIM = Claim(
    "C2",
    "Noise injected after BatchNorm destroys distributional stability, yet training is as good; the same "
    "noise on a network without BatchNorm stops it from training",
    "section 2.1, Figs 2 and 8",
    scopes,
    (
        Need("BatchNorm with and without noise, on images", has(BATCH, NOISY_BATCH, images=True)),
        Need("the plain network with and without noise", has(NONE, NOISY_NONE, images=True)),
        probe_need("activations", "distributions of activations"),
    ),
    (
        "“The same noise” is of absolute size in the paper: relatively larger where activations are small. A "
        "verdict here is on the claim as stated; at matched relative amplitude the plain network may well "
        "train.",
    ),
    images_only=True,
)
