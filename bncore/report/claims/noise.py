"""C2: noise after BatchNorm destroys stability but does no harm, and it stops the plain network (Fig 2)."""

from __future__ import annotations

from bncore.report.claims.comparing import BATCH, NONE, AtRate, at_each, common_rates, has, probe_need
from bncore.report.claims.evidence import Claim, ClaimMeasure, ClaimPart, Need
from bncore.report.claims.training import FINAL_ACCURACY, MEAN_ACCURACY
from bncore.report.progress import LEFT
from bncore.report.quantities import Quantity, log_of, mean_of, probe_basis
from bncore.report.statistics import estimate

NOISY_BATCH, NOISY_NONE = ("batch", "noise"), ("none", "noise")
NOISY_NONE_RELATIVE = ("none", "noise relative")

MEAN_DRIFT = Quantity(
    "|Δμ| of the layers' outputs between measurements",
    mean_of(log_of("probe:activations", "mean_step")),
    probe_basis("activations"),
)
VARIANCE_DRIFT = Quantity(
    "|Δσ²| of the layers' outputs between measurements",
    mean_of(log_of("probe:activations", "variance_step")),
    probe_basis("activations"),
)

UNFAIR = (
    "the noise is of absolute size: it is larger, relatively, where activations are small, so the comparison "
    "is not of equal disturbances; noise.amplitude=relative makes it so"
)
FAIR = "the same relative amplitude: the fair comparison"


def _unstable(at: AtRate) -> ClaimPart:
    return ClaimPart(
        "noise destroys stability",
        (
            at.compare(MEAN_DRIFT, NOISY_BATCH, BATCH, ratio=True),
            at.compare(VARIANCE_DRIFT, NOISY_BATCH, BATCH, ratio=True),
            at.compare(MEAN_DRIFT, NOISY_BATCH, NONE, ratio=True, counts=False),
        ),
        at.too_early(NONE, BATCH),
    )


def _unharmed(at: AtRate) -> ClaimPart:
    lost = at.share_of_gain(MEAN_ACCURACY, NOISY_BATCH)
    measures = (
        lost,
        at.compare(MEAN_ACCURACY, NOISY_BATCH, NONE),
        at.compare(FINAL_ACCURACY, NOISY_BATCH, BATCH, counts=False),
    )
    early = at.too_early(NONE, BATCH)
    return ClaimPart("training is as good all the same", measures, early, blocked=lost.caveat)


def _stopped(at: AtRate) -> ClaimPart:
    measures = (
        at.compare(MEAN_ACCURACY, NOISY_NONE, NONE, side="below", caveat=UNFAIR),
        _still_at_start(at, NOISY_NONE, caveat=UNFAIR),
        _still_at_start(at, NOISY_NONE_RELATIVE, counts=False, caveat=FAIR),
    )
    return ClaimPart("the same noise stops the plain network", measures, at.too_early(NONE))


def _still_at_start(
    at: AtRate, variant: tuple[str, str], *, caveat: str, counts: bool = True
) -> ClaimMeasure:
    """A variant's final loss relative to that of a network that has learned nothing; 1 for a diverged run, which
    keeps nothing that it learned."""
    shares: dict[int, float] = {}
    plain = at.of(NONE)
    for seed, runs in at.of(variant).items():
        mine = next((run for run in runs if run.training), None)
        curves = [run.training for run in plain.get(seed, []) if run.training]
        if mine is not None and mine.training is not None and curves:
            start = min(mine.training.first, *(curve.first for curve in curves))
            shares[seed] = 1.0 if mine.diverged else float(mine.training.values[-1]) / start
    name = f"training loss at the end over that of the start, {' + '.join(variant)}"
    return ClaimMeasure(name, estimate(shares), threshold=LEFT, counts=counts, signed=False, caveat=caveat)


CLAIM = Claim(
    "C2",
    "Noise injected after BatchNorm destroys distributional stability, yet training is as good; the same "
    "noise on a network without BatchNorm stops it from training",
    "section 2.1, Figs 2 and 8",
    at_each(
        lambda setting: common_rates(setting, BATCH, NOISY_BATCH) if setting.images else (),
        _unstable,
        _unharmed,
        _stopped,
    ),
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
    short="as good with noise behind it",
)
