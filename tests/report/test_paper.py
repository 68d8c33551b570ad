"""The paper's curves ship with the program, and can be read."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from bncore.report.figures import FIGURES
from bncore.report.paper import CAVEATS, FILES, FOLDER, VARIANTS, all_curves, reference


def test_every_file_that_is_named_is_there_and_every_one_there_is_named() -> None:
    named = [file.stem for files in FILES.values() for file in files]
    assert sorted(named) == sorted(path.stem for path in FOLDER.glob("*.csv"))


def test_they_say_where_they_come_from() -> None:
    text = (FOLDER / "README.md").read_text()
    assert "arXiv 1805.11604" in text
    assert "never digits" in text


@pytest.mark.parametrize(("key", "figure"), sorted(FILES))
def test_every_curve_is_of_a_variant_that_is_known_and_ascends(key: str, figure: str) -> None:
    for file in FILES[key, figure]:
        for curve in all_curves(key, figure, layer=file.layer):
            assert curve.legend in VARIANTS
            assert (np.diff(curve.x) >= 0).all()
            assert (curve.low <= curve.high).all()
            assert np.isfinite(curve.low).all()


def test_accuracies_are_shares_and_numbers_are_the_file_s() -> None:
    [plain] = [c for c in reference("accuracy", "2") if c.legend == "Standard"]
    with (FOLDER / "fig02_vgg_train_acc_noisybn.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["series"] == "Standard"]
    assert plain.low.tolist() == pytest.approx([float(row["y"]) / 100 for row in rows], rel=1e-12)
    assert plain.high is plain.low


def test_the_landscape_is_a_band() -> None:
    assert all((curve.high > curve.low).any() for curve in reference("loss_band", "4"))


def test_of_single_measurements_the_nearest_is_taken() -> None:
    found = reference("difference_by_length", "11b", step=190)
    assert {curve.setting for curve in found} == {"step=200"}


def test_a_folder_without_the_files_gives_no_curves(tmp_path: Path) -> None:
    assert reference("accuracy", "1", folder=tmp_path) == ()


def test_figures_with_curves_of_the_paper_have_caveats() -> None:
    assert {figure for _, figure in FILES} <= set(CAVEATS)
    assert set(CAVEATS) <= {figure.number for figure in FIGURES}
