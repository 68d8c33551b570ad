"""The paper's curves brought beside the seeds, like with like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bncore.config.model import Noise, Norm, Optim
from bncore.config.probes import Activations, Probes
from bncore.report.among_seeds import NO_PENALTY, NO_STEP, ONE_SEED, PRECISION, align
from bncore.report.figures import BESIDE_PAPER, FIRST_SEED
from bncore.report.paper import PaperCurve, all_curves
from bncore.report.paper_fit import paper_fit
from report.factories import report
from report.paper_factories import (
    AT,
    LINEAR,
    STEPS,
    VGG16,
    Row,
    accuracies,
    around,
    landscapes,
    losses,
    only,
    plain_accuracy,
    ranks,
    run,
    runs,
    with_probes,
)


def test_seeds_on_both_sides_of_the_paper_s_make_it_a_typical_seed(tmp_path: Path) -> None:
    found = only(runs(tmp_path / "a", VGG16, accuracies(around)))
    assert (found.words, found.seeds) == ("a typical seed", 5)
    assert [look.step for look in found.looks] == [0, 100, 200, 500, 1000]
    assert [look.rank for look in found.looks] == pytest.approx([0.4] * 5)


def test_seeds_that_leave_the_paper_s_are_said_to_from_where_on(tmp_path: Path) -> None:
    found = only(
        runs(tmp_path / "a", VGG16, accuracies(lambda seed, step: around(seed, step) + 0.5 * (step > 400)))
    )
    assert found.words == "outside all 5 of ours from step 500 on (below)"
    assert found.outside


def test_training_accuracies_are_averaged_over_the_same_batches_as_the_paper_s(tmp_path: Path) -> None:
    """A single wild batch at a step looked at is one of five there, in every seed another value."""
    wild = runs(tmp_path / "a", VGG16, accuracies(lambda seed, step: around(seed, step) + (step == 500)))
    [look] = [look for look in only(wild).looks if look.step == 500]
    near = [plain_accuracy(step) for step in range(300, 701, 100)]
    assert look.paper == pytest.approx(np.mean(near))
    assert look.low == pytest.approx(np.mean(near) + around(0, 0) + 0.2)


def test_only_the_paper_s_own_samples_are_looked_at(tmp_path: Path) -> None:
    often = runs(tmp_path / "a", VGG16, accuracies(around, range(0, STEPS + 1, 20)))
    assert [look.step for look in only(often).looks] == [0, 100, 200, 500, 1000]
    beside = runs(tmp_path / "b", VGG16, accuracies(around, range(50, STEPS, 100)))
    assert only(beside).words == NO_STEP


def test_one_seed_has_no_rank_and_few_no_typical_one(tmp_path: Path) -> None:
    one = runs(tmp_path / "a", VGG16, accuracies(around), 1)
    assert only(one).words == ONE_SEED
    assert only(one).looks == ()
    assert "is unknown (no rank: one seed)" in paper_fit(one.settings[0]).text
    few = runs(tmp_path / "b", VGG16, accuracies(around), 4)
    assert only(few).words == "within the range of 4 seeds (few)"


@pytest.mark.parametrize(
    "change",
    [
        {"optim": Optim(lr=0.2, weight_decay=5e-4)},
        {"noise": Noise(on=True)},
        {"norm": Norm(kind="none"), "net": VGG16.net, "noise": Noise(on=True, amplitude="relative")},
    ],
)
def test_another_learning_rate_or_noise_is_another_variant(tmp_path: Path, change: dict[str, Any]) -> None:
    document = runs(tmp_path / "a", VGG16.model_copy(update=change), accuracies(around))
    [setting] = document.settings
    assert paper_fit(setting).text == ""
    assert document.fits == ()


def test_a_seed_that_diverged_counts_as_far_as_it_came_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    made = [
        run(tmp_path / "a" / f"none-s{seed}", VGG16.model_copy(update={"seed": seed, "norm": Norm(kind="none")}),
            accuracies(around, AT if seed else range(0, 301, 100))(seed), "finished" if seed else "diverged")
        for seed in range(6)
    ]  # fmt: skip
    found = only(report(made))
    assert found.words == "a typical seed; 1 of 6 seeds diverged"
    assert {look.step: look.seeds for look in found.looks} == {0: 6, 100: 6, 200: 5, 500: 5, 1000: 5}


def test_a_run_that_is_no_evidence_has_no_rank(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    made = [
        run(tmp_path / "a" / f"none-s{seed}", VGG16.model_copy(update={"seed": seed, "norm": Norm(kind="none")}),
            accuracies(around)(seed), "finished" if seed < 2 else "stopped")
        for seed in range(5)
    ]  # fmt: skip
    assert only(report(made)).seeds == 2


def test_lost_samples_are_read_off_the_logarithmic_axis(tmp_path: Path) -> None:
    """All seeds within a thousandth of the paper's on it; on a linear axis they would lie far below."""
    document = runs(tmp_path / "a", LINEAR, losses(lambda seed: 1.0), norm="none")
    found = ranks(document, "3b")["Training loss", "none"]
    assert {look.rank for look in found.looks} == {0.5}
    assert len(found.looks) == 6


def test_seeds_twice_as_high_are_missed_everywhere(tmp_path: Path) -> None:
    document = runs(tmp_path / "a", LINEAR, losses(lambda seed: 2.0 + seed))
    assert (
        ranks(document, "3b")["Training loss", "none"].words == "outside all 5 of ours at all 6 steps (below)"
    )


def test_only_steps_that_half_of_the_seeds_measured_and_values_with_a_place_on_the_axis() -> None:
    x = np.array([0.0, 100.0, 200.0, 300.0])
    y = np.array([1.0, 10.0, 100.0, 1000.0])
    curve = PaperCurve("Standard", "", x, y, y, (1.0, 1000.0))
    lines = [
        (x[:3], one, one) for one in (y[:3], np.array([0.0, -1.0, np.nan]), np.array([np.inf, 5.0, 5.0]))
    ]
    found = align(curve, [*lines, (x, y, y)], 100.0, log=True)
    assert found is not None
    assert found.steps.tolist() == [0, 100, 200]
    assert found.paper.tolist() == [[0, 1, 2]]
    assert np.isnan(found.ours[0, 1]).all()
    assert np.isnan(found.ours[0, 2]).tolist() == [True, False, False]
    assert found.tolerance == pytest.approx(3 * PRECISION)


def test_the_penalty_is_added_to_losses_of_the_data_alone(tmp_path: Path) -> None:
    found = only(runs(tmp_path / "a", with_probes(), landscapes(-2.0, penalty=2.0)), "4")
    assert found.words == "a typical seed"
    assert {look.edge for look in found.looks} == {"lower edge", "upper edge"}
    with_it = runs(tmp_path / "b", with_probes(penalty=True), landscapes(0.0, penalty=2.0))
    assert only(with_it, "4").words == "a typical seed"


@pytest.mark.parametrize("penalty", [None, 0.0])
def test_losses_without_a_penalty_have_no_rank(tmp_path: Path, penalty: float | None) -> None:
    found = only(runs(tmp_path / "a", with_probes(), landscapes(0.0, penalty=penalty)), "4")
    assert (found.words, found.looks) == (NO_PENALTY, ())


def test_changes_of_a_unit_are_taken_over_as_many_steps_as_the_paper_s(tmp_path: Path) -> None:
    """A mean that rises by 0.001 a step, measured every 50 steps: by 0.1 from sample to sample of the paper's."""

    def rows(seed: int) -> list[Row]:
        return [
            ("probe", step, {"name": "activations", "layers": [2], "unit_mean": [0.001 * step * (1 + seed)],
                             "unit_variance": [1.0]})
            for step in range(0, STEPS + 1, 50)
        ]  # fmt: skip

    spec = VGG16.model_copy(
        update={"noise": Noise(on=True), "probes": Probes(activations=Activations(every=50))}
    )
    document = runs(tmp_path / "a", spec, rows, norm="batch")
    found = ranks(document, "8")
    moved = found["|Δμ| of a unit, layer 2", "batch + noise"]
    assert moved.looks[0].step == 100
    assert [look.low for look in moved.looks] == pytest.approx([0.1] * len(moved.looks))
    assert [look.high for look in moved.looks] == pytest.approx([0.5] * len(moved.looks))
    [figure] = [one for one in document.pictures if one.name == "fig8"]
    assert FIRST_SEED in figure.notes
    assert BESIDE_PAPER in figure.notes
    assert not any("means over runs" in note for note in figure.notes)
    drifted = found["μ − μ₀ of a unit, layer 2", "batch + noise"]
    assert (drifted.looks[-1].low, drifted.looks[-1].high) == pytest.approx((1.0, 5.0))


def test_step_lengths_of_both_are_compared_at_steps_of_both(tmp_path: Path) -> None:
    theirs = {c.number: c for c in all_curves("difference_by_length", "11a") if c.legend == "Standard"}
    multiples = [0.5, 1.0, 3.0]  # 3 is none of the paper's

    def rows(seed: int) -> list[Row]:
        found: list[Row] = []
        for step in (100, 150, 400):  # 150 neither
            curve = theirs[min(theirs, key=lambda one: abs(one - step))]
            values = (np.interp(np.array(multiples) * 0.1, curve.x, curve.low) * 1.1 ** (seed - 2)).tolist()
            fields = {
                "multiples": multiples,
                "grad_diff_sum": values,
                "relative": values,
                "two_over_lr": 20.0,
            }
            found.append(("probe", step, {"name": "landscape", **fields}))
        return found

    found = ranks(runs(tmp_path / "a", with_probes(), rows), "11a")["Σ‖Δgᵢ‖ by step length", "none"]
    assert {(look.step, look.edge) for look in found.looks} == {
        (step, edge) for step in (100, 400) for edge in ("a = 0.05", "a = 0.1")
    }
    assert {look.rank for look in found.looks} == {0.5}
    assert found.words == "a typical seed"
