"""Whether runs are the paper's experiment, and how many of its curves they miss; in words, page and terminal."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from bncore.config.model import VGG, Evaluation, Norm
from bncore.report.document import as_json
from bncore.report.figures import covered
from bncore.report.page import page
from bncore.report.paper_fit import differences, paper_fit
from bntui.cli.verdicts import print_report
from report.factories import report
from report.paper_factories import (
    AT,
    LINEAR,
    PICTURES,
    VGG16,
    Row,
    accuracies,
    around,
    losses,
    only,
    plain_accuracy,
    run,
    runs,
)


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
    text = unescape(page(document))
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
    training, test = next(one for one in document.pictures if one.name == "fig1").panels
    assert sorted(curve.weight for curve in training.curves) == ["main", "paper", "spread"]
    [spread] = [curve for curve in training.curves if curve.weight == "spread"]
    wide = [plain_accuracy(step) + around(seed, step) for step in AT for seed in (0, 2)]
    assert spread.x.tolist() == list(AT)
    assert np.stack([spread.low, spread.high], axis=1).ravel() == pytest.approx(wide)
    assert [curve.weight for curve in test.curves] == ["paper", "spread", "main"]
