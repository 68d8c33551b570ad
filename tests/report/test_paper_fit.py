"""Runs beside the paper's curves: what is compared with what, and what a report says of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bncore.report.among_seeds import NO_PENALTY, NO_STEP, ONE_SEED, PRECISION, align
from bncore.report.document import Report, as_json, report
from bncore.report.figures import FIRST_SEED, MEDIANS, SPREAD, covered
from bncore.report.page import page
from bncore.report.paper import PaperCurve, all_curves
from bncore.report.paper_fit import differences, paper_fit
from bncore.report.rank import PaperRank
from bncore.spec.load import load_experiment
from bncore.spec.model import VGG, Evaluation, ImageData, Noise, Norm, Optim, Spec
from bncore.spec.plan import plan
from bncore.spec.probes import Activations, Landscape, Probes
from bncore.spec.toml import spec_to_toml
from bncore.store.journal import Journal
from bncore.store.paths import RunDir
from bncore.store.status import State, Status, write_status
from bntui.cli.verdicts import print_report

Row = tuple[str, int, dict[str, Any]]
STEPS = 1000
AT = range(0, STEPS + 1, 100)
PICTURES = ImageData(source="cifar10", standardize="image", path="pictures", fingerprint="0" * 64)
PLANNED = [plan(load_experiment(name), profile="paper").runs[0].spec for name in ("vgg_bn", "dln_bn")]
HERE = {"device": "cpu", "threads": 1, "probes": Probes()}
VGG16 = PLANNED[0].model_copy(update=HERE | {"steps": STEPS, "data": PICTURES})
LINEAR = PLANNED[1].model_copy(update=HERE)


def paper(key: str, figure: str, legend: str, setting: str = "", layer: int | None = None) -> PaperCurve:
    [found] = [
        curve
        for curve in all_curves(key, figure, layer=layer)
        if (curve.legend, curve.setting) == (legend, setting)
    ]
    return found


def plain_accuracy(step: int) -> float:
    curve = paper("accuracy", "1", "Standard", "LR=0.1")
    return float(np.interp(step, curve.x, curve.low))


def run(path: Path, spec: Spec, rows: Sequence[Row], state: State = "finished") -> RunDir:
    made = RunDir(path)
    made.inbox.mkdir(parents=True)
    made.checkpoints.mkdir()
    made.spec_file.write_text(spec_to_toml(spec))
    write_status(made, Status(state, rows[-1][1] if rows else 0, spec.steps))
    journal = Journal(made.journal_file)
    journal.append("start", 0, schema=1, title=spec.title, data="made")
    for kind, step, fields in sorted(rows, key=lambda row: row[1]):
        journal.append(kind, step, **fields)
    journal.append("finished", spec.steps, state=state, params_sha256="0" * 64)
    journal.close()
    return made


def runs(
    path: Path, spec: Spec, rows: Callable[[int], list[Row]], seeds: int = 5, *, norm: str = "none"
) -> Report:
    """A report of seeds of one variant."""
    path.mkdir()
    found = []
    for seed in range(seeds):
        own = spec.model_copy(update={"seed": seed, "norm": spec.norm.model_copy(update={"kind": norm})})
        found.append(run(path / f"{norm}-s{seed}", own, rows(seed)))
    return report(found)


def accuracies(offset: Callable[[int, int], float], at: Sequence[int] = AT) -> Callable[[int], list[Row]]:
    """Rows of a seed: the paper's training accuracy and what is added to it, of seed and step."""
    return lambda seed: [
        ("step", step, {"loss": 1.0, "accuracy": plain_accuracy(step) + offset(seed, step)}) for step in at
    ]


def around(seed: int, step: int) -> float:
    return 0.02 * (seed - 2) + 0.001


def ranks(document: Report, figure: str = "1") -> dict[tuple[str, str], PaperRank]:
    [setting] = document.settings
    return {(rank.panel, rank.variant): rank for rank in covered(setting)[figure].ranks}


def only(document: Report, figure: str = "1") -> PaperRank:
    [found] = ranks(document, figure).values()
    return found


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
    assert "cannot be said (no rank: one seed)" in paper_fit(one.settings[0]).text
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


def losses(factor: Callable[[int], float]) -> Callable[[int], list[Row]]:
    curve = paper("loss", "3b", "Standard", "lr 1e-6")
    logs = np.log(curve.low)
    return lambda seed: (
        [
            ("step", step, {"loss": float(np.exp(np.interp(step, curve.x, logs))) * factor(seed)})
            for step in range(0, 10_000, 50)
        ]
        + [("probe", 0, {"name": "ics", "layers": [9], "l2": [0.0], "cosine": [1.0]})]
    )


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


def landscapes(
    add: float, *, penalty: float | None, low: str = "loss_min", high: str = "loss_max"
) -> Callable[[int], list[Row]]:
    curve = paper("loss_band", "4", "Standard")

    def rows(seed: int) -> list[Row]:
        found: list[Row] = []
        for step in AT:
            edges = [float(np.interp(step, curve.x, edge)) for edge in (curve.low, curve.high)]
            own = add + 0.01 * (seed - 2) + 0.001
            fields = {"name": "landscape", low: edges[0] + own, high: edges[1] + own}
            found.append(("probe", step, fields))
            found.append(("step", step, {"loss": 1.0, **({} if penalty is None else {"penalty": penalty})}))
        return found

    return rows


MEASURED = Probes(landscape=Landscape(every=100))


def with_probes(**more: bool) -> Spec:
    landscape = Landscape(every=100, **more)  # type: ignore[arg-type]
    return VGG16.model_copy(update={"probes": Probes(landscape=landscape)})


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
    assert SPREAD in figure.notes
    assert MEDIANS not in figure.notes
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

    found = ranks(runs(tmp_path / "a", with_probes(), rows), "11a")["Σ‖Δgᵢ‖", "none"]
    assert {(look.step, look.edge) for look in found.looks} == {
        (step, edge) for step in (100, 400) for edge in ("a = 0.05", "a = 0.1")
    }
    assert {look.rank for look in found.looks} == {0.5}
    assert found.words == "a typical seed"


def test_runs_of_the_paper_s_settings_differ_in_nothing_and_others_say_in_what(tmp_path: Path) -> None:
    whole = VGG16.model_copy(update={"steps": 15_000})
    assert differences(runs(tmp_path / "a", whole, accuracies(around), 1).settings[0]) == ()
    small = VGG16.model_copy(
        update={
            "net": VGG(kind="vgg11", width=0.25, head=VGG16.net.head),  # type: ignore[union-attr]
            "batch_size": 64,
            "data": PICTURES.model_copy(update={"source": "synthetic"}),
            "optim": VGG16.optim.model_copy(update={"momentum": 0.9}),
            "eval": Evaluation(every=7),
        }
    )
    assert differences(runs(tmp_path / "b", small, accuracies(around), 1).settings[0]) == (
        "1,000 of 15,000 steps", "VGG-11", "width 0.25", "batches of 64", "synthetic images", "optim.momentum 0.9",
    )  # fmt: skip
    assert differences(runs(tmp_path / "c", LINEAR, losses(lambda seed: 1.0), 1).settings[0]) == ()


def test_a_sentence_says_whether_it_is_the_paper_s_experiment_and_what_is_missed(tmp_path: Path) -> None:
    whole = VGG16.model_copy(update={"steps": 15_000})
    near = paper_fit(runs(tmp_path / "a", whole, accuracies(around)).settings[0])
    assert near.text == "None of the paper's 1 curves lies outside all 5 seeds."
    far = paper_fit(runs(tmp_path / "b", VGG16, accuracies(lambda seed, step: 2.0 + seed)).settings[0])
    assert far.text == (
        "These runs are not the paper's experiment (1,000 of 15,000 steps): 1 of the paper's 1 curves lies "
        "outside all 5 seeds (Fig 1 Training accuracy, none); by chance about 0.2 would."
    )


def test_a_run_that_several_figures_of_the_paper_show_counts_once(tmp_path: Path) -> None:
    """Figs 1 and 5a share their plain run."""
    (tmp_path / "a").mkdir()
    made = [
        run(tmp_path / "a" / f"{norm}-s{seed}",
            VGG16.model_copy(update={"seed": seed, "norm": Norm(kind=norm)}), accuracies(around)(seed))
        for norm in ("none", "l1")
        for seed in range(5)
    ]  # fmt: skip
    [setting] = report(made).settings
    shown = [(r.figure, r.variant) for found in covered(setting).values() for r in found.ranks]
    assert sorted(shown) == [("1", "none"), ("5a", "l1"), ("5a", "none")]
    assert sorted((rank.figure, rank.variant) for rank in paper_fit(setting).ranks) == [
        ("1", "none"),
        ("5a", "l1"),
    ]


def test_page_and_json_hold_the_words(tmp_path: Path) -> None:
    document = runs(
        tmp_path / "a", VGG16, accuracies(lambda seed, step: around(seed, step) + 0.5 * (step > 400))
    )
    words, sentence = only(document).words, paper_fit(document.settings[0]).text
    text = re.sub(r"&#x27;", "'", page(document))
    assert words in text
    assert sentence in text
    assert "Where the paper's curves lie among ours: 1 of 1 outside the seeds" in text
    assert 'href="#fit"' in text
    found = as_json(document)
    [figure] = [one for one in found["figures"] if one["name"] == "fig1"]
    assert [rank["words"] for rank in figure["paper"]] == [words]
    assert [look["rank"] for look in figure["paper"][0]["looks"]][-1] == 0.0
    assert [fit["text"] for fit in found["paper_fit"]] == [sentence]


def test_the_terminal_has_a_line_for_each_curve_that_has_a_rank(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_report(runs(tmp_path / "a", VGG16, accuracies(around)))
    said = capsys.readouterr().out
    assert re.search(r"1 +none +Training accuracy +a typical seed", said)
    assert "not the paper's experiment (1,000 of 15,000 steps)" in said
    print_report(runs(tmp_path / "b", VGG16, accuracies(around), 1))
    alone = capsys.readouterr().out
    assert not re.search(r"none +Training accuracy", alone)
    assert "no rank: one seed" in alone


def test_seeds_are_a_band_under_the_paper_s_curve_and_lines_where_they_miss_its_samples(
    tmp_path: Path,
) -> None:
    def rows(seed: int) -> list[Row]:
        evaluated: list[Row] = [("eval", 500, {"test_accuracy": 0.1 * seed})]
        return [*accuracies(around)(seed), *evaluated]

    document = runs(tmp_path / "a", VGG16, rows, 3)
    training, test = next(one for one in document.pictures if one.name == "fig1").plots
    assert sorted(curve.weight for curve in training.curves) == ["main", "paper", "spread"]
    [spread] = [curve for curve in training.curves if curve.weight == "spread"]
    wide = [plain_accuracy(step) + around(seed, step) for step in AT for seed in (0, 2)]
    assert spread.x.tolist() == list(AT)
    assert np.stack([spread.low, spread.high], axis=1).ravel() == pytest.approx(wide)
    assert [curve.weight for curve in test.curves] == ["paper", "seed", "seed", "seed", "main"]
