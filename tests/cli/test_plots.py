"""An axis of logarithms is labelled with the values themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bncore.figure import ChartData, Curve
from bntui.cli.terminal_chart import MOST_TICKS, _log_ticks, draw


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (1e-3, 1e2, ["0.001", "0.01", "0.1", "1", "10", "100"]),
        (0.5, 3, ["0.5", "1", "2"]),
        (0.9, 11, ["1", "2", "5", "10"]),
        (1e-12, 1e9, ["10^-12", "10^-6", "1", "10^6"]),
        (2e7, 9e7, ["2e7", "4e7", "6e7", "8e7"]),
        (20000, 95000, ["20000", "40000", "60000", "80000"]),
        (1, 1, ["1"]),
        (2.3, 2.31, ["2.3", "2.31"]),
    ],
)
def test_labels_are_values_at_their_places(low: float, high: float, labels: list[str]) -> None:
    places, found = _log_ticks([math.log10(low), math.log10(high)])
    assert found == labels
    for place, label in zip(places, found, strict=True):
        value = float(label.replace("10^", "1e"))
        assert place == pytest.approx(math.log10(value), abs=1e-3)


@pytest.mark.parametrize("decades", [0.01, 0.3, 1, 2.5, 7, 30, 300])
def test_there_are_some_and_not_too_many(decades: float) -> None:
    for start in (-50.3, -1.7, 0.0, 3.14):
        places, labels = _log_ticks([start, start + decades])
        assert 1 <= len(places) <= MOST_TICKS + 1
        assert len(set(labels)) == len(labels)


def test_what_falls_is_labelled_with_its_values() -> None:
    y = np.ones(3)
    curve = Curve("a", 0, np.array([-1.0, 0.0, 1.0]), y, y)
    picture = draw(ChartData("loss", (curve,), x_name="training loss", falling=True))
    assert picture.splitlines()[-2].split() == ["10", "1", "0.1"]


def test_the_picture_has_them() -> None:
    y = np.array([1.0, 0.1, 0.01])
    picture = draw(ChartData("loss", (Curve("a", 0, np.arange(3.0), y, y),), log_y=True))
    assert "log10" not in picture
    axis = [line.split("┤")[0].strip() for line in picture.splitlines() if "┤" in line]
    assert axis == ["1", "0.1", "0.01"]
