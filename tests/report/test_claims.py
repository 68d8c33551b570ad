"""Every claim with runs made to support it, to contradict it, and to leave it open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live.factories import write_sweep

from bncore.config.probes import Ics, Landscape
from bncore.report.claims.evidence import ClaimVerdict, Verdict
from bncore.report.claims.judging import CLAIMS
from bncore.report.missing import missing
from bncore.report.quantities import mean_of, plain_of
from bncore.store.paths import SweepDir
from report.factories import IMAGES, LINEAR, PROBES, report, request, run_of, spec_of, sweep_of

YES, NO, OPEN = Verdict.SUPPORTED, Verdict.CONTRADICTED, Verdict.INCONCLUSIVE
EARLY = Verdict.TOO_EARLY
Variant = dict[str, Any]


def none(**more: Any) -> Variant:
    return {"norm": "none", **more}


def batch(**more: Any) -> Variant:
    return {"norm": "batch", **more}


def norm(kind: str, **more: Any) -> Variant:
    return {"norm": kind, **more}


def noisy(variant: Variant, amplitude: str = "absolute") -> Variant:
    return variant | {"noise": amplitude}


FASTER = [none(accuracy=0.5), batch(accuracy=0.8)]
TOLERANT = [none(accuracy=0.2, lr=0.5), batch(accuracy=0.8, lr=0.5)]
SMOOTH = [none(rough=2.0, scale=3.0), batch(rough=0.5, scale=1.0)]
ROUGH = [none(rough=0.5, scale=1.0), batch(rough=2.0, scale=3.0)]
NOISE = [
    none(accuracy=0.4),
    batch(accuracy=0.8),
    noisy(batch(accuracy=0.75, drift=9.0)),
    noisy(none(accuracy=0.1)),
]
L_P = [norm(kind, drift=4.0) for kind in ("l1", "l2", "linf")]
TWO = [none(accuracy=0.3), batch()]
RATES = (0.1, 0.2, 0.4)

CASES: list[tuple[str, list[Variant], Verdict]] = [
    ("C1", [*FASTER, *TOLERANT], YES),
    ("C1", [none(accuracy=0.8), batch(accuracy=0.5), *TOLERANT], NO),
    ("C1", [*FASTER, none(accuracy=0.5, lr=0.5), batch(accuracy=0.3, lr=0.5)], NO),
    ("C1", [none(accuracy=0.1, lr=0.01), batch(lr=0.01), *FASTER, *TOLERANT], YES),
    ("C1", FASTER, OPEN),
    ("C1", [none(accuracy=0.1), batch(), none(accuracy=0.1, lr=0.5), batch(accuracy=0.4, lr=0.5)], EARLY),
    ("C2", NOISE, YES),
    ("C2", [*NOISE[:2], noisy(batch(drift=9.0, accuracy=0.35)), NOISE[3]], NO),
    ("C2", [*NOISE[:2], noisy(batch(accuracy=0.75, drift=0.2)), NOISE[3]], NO),
    ("C2", [*NOISE[:3], noisy(none(accuracy=0.5))], NO),
    ("C2", NOISE[:3], OPEN),
    ("C2", [none(accuracy=0.1), *NOISE[1:]], EARLY),
    ("C2", [none(accuracy=0.8), *NOISE[1:]], OPEN),
    ("C3", [none(shift=0.1), batch(shift=0.5)], YES),
    ("C3", [none(shift=0.1), batch(shift=0.1)], YES),
    ("C3", [none(shift=0.5), batch(shift=0.1)], NO),
    ("C3", [none(shift=0.1, accuracy=0.1), batch(shift=0.5)], EARLY),
    ("C3", [none()], OPEN),
    ("C4", SMOOTH, YES),
    ("C4", ROUGH, NO),
    ("C4", [none(), batch()], OPEN),
    ("C4", [none(rough=0.5, accuracy=0.1), batch(rough=2.0)], EARLY),
    ("C5", SMOOTH, YES),
    ("C5", ROUGH, NO),
    ("C5", [none(rough=1.0, scale=9.0), batch(rough=1.0, scale=1.0)], OPEN),
    ("C5", [none(rough=0.5, accuracy=0.1), batch(rough=2.0)], EARLY),
    ("C6", [*TWO, *L_P], YES),
    ("C6", [*TWO, *(variant | {"accuracy": 0.35} for variant in L_P)], NO),
    ("C6", [*TWO, *(variant | {"drift": 0.1} for variant in L_P)], NO),
    ("C6", [none(accuracy=0.1), batch(), *L_P], EARLY),
    ("C6", [none(), batch()], OPEN),
    ("C7", [batch()], YES),
    ("C7", [batch(theory={"lipschitz_left": 2.0})], NO),
    ("C7", [batch(theory={"lipschitz_error": 0.5})], NO),
    ("C7", [none()], OPEN),
    ("C8", [batch()], YES),
    ("C8", [batch(theory={"hessian_correction": -0.1})], NO),
    ("C8", [none()], OPEN),
    ("C9", [batch()], YES),
    ("C9", [batch(theory={"worst_bound": 2.0})], NO),
    ("C9", [batch(theory={"worst_actual": 0.9})], NO),
    ("C9", [none()], OPEN),
    ("C10", [none(), batch()], OPEN),
    ("C11", [none(accuracy=0.4, rough=0.5), batch(accuracy=0.8, rough=2.0)], YES),
    ("C11", [v for lr in RATES for v in (none(lr=lr, accuracy=lr + 0.4), batch(lr=lr, accuracy=0.8))], YES),
    (
        "C11",
        [v for lr in RATES for v in (none(lr=lr, accuracy=0.4, rough=2.0), batch(lr=lr, accuracy=0.8, rough=0.5))],
        NO,
    ),
    ("C11", [none(accuracy=0.4, rough=2.0), batch(accuracy=0.8, rough=0.5)], OPEN),
    ("C11", [none(accuracy=0.1, rough=2.0), batch(accuracy=0.8, rough=0.5)], EARLY),
]  # fmt: skip


def judged(tmp_path: Path, key: str, variants: list[Variant], seeds: int = 3) -> ClaimVerdict:
    document = report([sweep_of(tmp_path / "made", *variants, seeds=seeds)])
    return next(one for one in document.judged if one.claim.key == key)


@pytest.mark.parametrize(("key", "variants", "verdict"), CASES)
def test_a_claim_is_weighed_by_what_runs_measured(
    tmp_path: Path, key: str, variants: list[Variant], verdict: Verdict
) -> None:
    found = judged(tmp_path, key, variants)
    assert found.verdict == verdict, found.why
    assert found.why.endswith((".", ")."))


def test_every_claim_has_runs_that_support_it_contradict_it_and_leave_it_open() -> None:
    seen = {(key, verdict) for key, _, verdict in CASES}
    lemma = {("C10", YES), ("C10", NO)}  # no run can decide it
    theorems = {(key, EARLY) for key in ("C7", "C8", "C9", "C10")}  # hold at any stage
    assert {(claim.key, verdict) for claim in CLAIMS for verdict in Verdict} - seen == lemma | theorems
    assert [claim.key for claim in CLAIMS] == [f"C{n}" for n in range(1, 12)]


@pytest.mark.parametrize("seeds", [1, 2])
def test_too_few_seeds_settle_nothing_and_are_named(tmp_path: Path, seeds: int) -> None:
    found = judged(tmp_path, "C4", SMOOTH, seeds=seeds)
    assert found.verdict == OPEN
    assert "in favor of the claim, but fewer than 3 seeds" in found.why
    assert ("1 seed only" if seeds == 1 else "2 seeds") in found.why


def test_every_decided_sentence_says_how_many_seeds(tmp_path: Path) -> None:
    assert "(3 seeds)" in judged(tmp_path, "C4", SMOOTH).why


def test_seeds_that_disagree_settle_nothing(tmp_path: Path) -> None:
    for seed, (plain, normed) in enumerate([(1.0, 3.0), (3.0, 1.0), (1.0, 2.5)]):
        run_of(tmp_path / "s" / f"none-s{seed}", spec_of("none", seed=seed), scale=plain)
        run_of(tmp_path / "s" / f"batch-s{seed}", spec_of("batch", seed=seed), scale=normed)
    found = next(one for one in report([_sweep(tmp_path / "s")]).judged if one.claim.key == "C4")
    assert found.verdict == OPEN
    assert "the interval holds both" in found.why


def test_networks_that_say_opposite_things_settle_nothing(tmp_path: Path) -> None:
    linear = [variant | {"base": LINEAR} for variant in ROUGH]
    found = judged(tmp_path, "C4", [*SMOOTH, *linear])
    assert found.verdict == OPEN
    assert "disagree" in found.why
    assert "supported by VGG-16 on CIFAR-10" in found.why
    assert "contradicted by 25-layer linear network" in found.why


def test_synthetic_images_settle_nothing(tmp_path: Path) -> None:
    made = IMAGES.model_copy(update={"data": IMAGES.data.model_copy(update={"source": "synthetic"})})
    found = judged(tmp_path, "C4", [variant | {"base": made} for variant in SMOOTH])
    assert found.verdict == OPEN
    assert "synthetic images are not evidence" in found.why


def test_networks_that_were_measured_too_seldom_are_not_called_early(tmp_path: Path) -> None:
    """A handful of measurements meets too few training losses that both networks have passed."""
    seldom = IMAGES.model_copy(
        update={"probes": PROBES.model_copy(update={"landscape": Landscape(every=30)})}
    )
    speeds = [
        variant | {"base": seldom, "accuracy": a} for variant, a in zip(SMOOTH, (0.4, 0.9), strict=True)
    ]
    found = judged(tmp_path, "C4", speeds)
    assert found.verdict == OPEN
    assert "measured too seldom (4 times)" in found.why


def test_a_diverged_run_counts_as_one_that_learnt_nothing(tmp_path: Path) -> None:
    high = [none(lr=0.5, accuracy=0.9, state="diverged", steps=5), batch(lr=0.5, accuracy=0.8)]
    assert judged(tmp_path, "C1", [*FASTER, *high]).verdict == YES


def test_late_beta_is_shown_and_never_counted(tmp_path: Path) -> None:
    found = judged(tmp_path, "C5", SMOOTH)
    late = [m for f in found.findings for m in f.scope.measures if "later" in m.name]
    assert len(late) == 3
    assert all(not measure.counts and "reflects 2/lr" in measure.caveat for measure in late)


def test_beta_that_reads_back_the_learning_rate_is_recognized(tmp_path: Path) -> None:
    # beta = max relative / (multiple * lr) = rough / lr: on 2/lr for rough 2; on 1/a_min = 2/lr too
    found = judged(tmp_path, "C5", [none(rough=2.0), batch(rough=1.0)])
    shares = {
        m.name.rsplit(", ", 1)[1]: m.effect.mean
        for f in found.findings
        for m in f.scope.measures
        if m.name.startswith("share of later") and m.effect
    }
    assert shares == {"none": 1.0, "batch": 0.0}


def test_the_length_of_the_shift_is_shown_and_never_counted(tmp_path: Path) -> None:
    found = judged(tmp_path, "C3", [none(), batch()])
    lengths = [m for f in found.findings for m in f.scope.measures if m.name.startswith("ICS as ‖G − G′‖,")]
    assert len(lengths) == 2  # at equal steps and at equal loss
    assert all(not one.counts and "size of the update" in one.caveat for one in lengths)


def test_l2_counts_on_images_and_not_in_a_linear_network(tmp_path: Path) -> None:
    variants = [*TWO, *L_P]
    for base, counts in ((IMAGES, True), (LINEAR, False)):
        found = judged(tmp_path / str(counts), "C6", [variant | {"base": base} for variant in variants])
        [l2] = [f for f in found.findings if f.scope.title.startswith("l2")]
        assert l2.scope.measures[0].counts is counts


def test_absolute_noise_on_the_plain_network_is_called_unfair(tmp_path: Path) -> None:
    found = judged(tmp_path, "C2", NOISE)
    assert any("absolute size" in measure.caveat for f in found.findings for measure in f.scope.measures)
    fair = judged(tmp_path / "fair", "C2", [*NOISE, noisy(none(), "relative")])
    [relative] = [m for f in fair.findings for m in f.scope.measures if "noise relative" in m.name]
    assert relative.effect is not None
    assert not relative.counts


def test_the_misprints_of_the_theorems_are_told() -> None:
    traps = {claim.key: " ".join(claim.traps) for claim in CLAIMS}
    assert "1/√m" in traps["C7"]
    assert "not consistent in powers" in traps["C9"]


def test_what_is_missing_is_named_with_the_command_that_would_measure_it(tmp_path: Path) -> None:
    document = report([sweep_of(tmp_path / "made", *FASTER, seeds=1)])
    lacks = {one.claim.key: missing(one, document.settings) for one in document.judged}
    assert lacks["C1"].command == "bnrun preset vgg_lr --seeds 0,1,2"
    assert "both at two learning rates or more" in lacks["C1"].lacks
    assert "3 seeds or more (there: 1)" in lacks["C1"].lacks
    assert lacks["C7"].command == "bnrun preset dln_bn --seeds 0,1,2 --set probes.theory.every=100"
    assert lacks["C10"].command == "bnrun theory"


def test_a_settled_claim_lacks_nothing(tmp_path: Path) -> None:
    document = report([sweep_of(tmp_path / "made", *SMOOTH)])
    [found] = [one for one in document.judged if one.claim.key == "C4"]
    assert missing(found, document.settings).lacks == ()


def test_where_everything_is_there_more_seeds_are_asked_for(tmp_path: Path) -> None:
    document = report([sweep_of(tmp_path / "made", none(), batch())])
    [found] = [one for one in document.judged if one.claim.key == "C4"]
    assert missing(found, document.settings).command == "bnrun preset vgg_landscape --seeds 0,1,2,3,4,5"


def test_a_steered_run_never_counts_as_its_variant(tmp_path: Path) -> None:
    events = (request(3, {"norm.kind": "none"}),)
    found = judged(tmp_path, "C4", [SMOOTH[0], SMOOTH[1] | {"events": events}])
    assert found.verdict == OPEN
    assert found.findings == ()
    assert "3 of 6 runs do not count, such as made/batch-1-s0 (steered:" in found.why


OTHERWISE = {
    "C4": {"landscape": Landscape(every=1, direction="random")},
    "C5": {"landscape": Landscape(every=1, direction="random")},
    "C3": {"ics": Ics(every=1, rescale=0.01)},
}
"""Settings of an instrument that make it measure something else than the claim is about."""


@pytest.mark.parametrize("key", OTHERWISE)
@pytest.mark.parametrize("other_first", [True, False])
def test_runs_that_measured_something_else_have_no_say_whatever_their_order(
    tmp_path: Path, key: str, other_first: bool
) -> None:
    other = IMAGES.model_copy(update={"probes": PROBES.model_copy(update=OTHERWISE[key])})
    usual = [none(rough=2.0, scale=3.0, shift=0.1), batch(rough=0.5, scale=1.0, shift=0.5)]
    reverse = [
        v | {"base": other} for v in (none(rough=0.5, shift=0.5), batch(rough=2.0, scale=3.0, shift=0.1))
    ]
    both = [*reverse, *usual] if other_first else [*usual, *reverse]
    assert judged(tmp_path / "both", key, both).verdict == YES
    assert judged(tmp_path / "reverse", key, reverse).verdict == OPEN


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_theorems_are_weighed_in_any_precision(tmp_path: Path, precision: str) -> None:
    """Probes compute in float32 then."""
    base = IMAGES.model_copy(update={"precision": precision, "device": "cuda"})
    assert judged(tmp_path / "exact", "C7", [batch(base=base)]).verdict == YES
    inexact = batch(base=base, theory={"lipschitz_error": 0.5})
    assert judged(tmp_path / "inexact", "C7", [inexact]).verdict == NO


def test_the_first_layer_counts_but_for_the_shift_of_its_inputs(tmp_path: Path) -> None:
    run = report([sweep_of(tmp_path / "made", batch(drift=2.0), seeds=1)]).runs[0]
    rows = run.columns.series("probe:activations", "mean_step").values
    assert rows.shape[1] == 3
    rows[:, 1:] = np.nan
    assert mean_of(plain_of("probe:activations", "mean_step"))(run) == pytest.approx(2.0)
    shift = run.columns.series("probe:ics", "one_minus_cosine").values
    shift[:, 0], shift[:, 1:] = 100.0, 0.25
    assert mean_of(plain_of("probe:ics", "one_minus_cosine"))(run) == pytest.approx(0.25)


def test_cadences_that_were_changed_on_the_way_are_not_compared_with_those_that_were_not(
    tmp_path: Path,
) -> None:
    events = (request(3, {"probes.landscape.every": 2}),)
    assert judged(tmp_path / "one", "C4", [SMOOTH[0], SMOOTH[1] | {"events": events}]).verdict == OPEN
    both = [variant | {"events": events} for variant in SMOOTH]
    assert judged(tmp_path / "both", "C4", both).verdict == YES


def _sweep(path: Path) -> SweepDir:
    write_sweep(path, sorted(p.name for p in path.iterdir() if p.is_dir()))
    return SweepDir(path)
