"""An axis of logarithms is labelled with the values themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bncore.figure import PALETTE, ChartData, Curve
from bntui.cli.terminal_chart import MOST_TICKS, PIPED_WIDTH, _log_ticks, draw, look_of


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
    assert ["10", "1", "0.1"] in [line.split() for line in picture.splitlines()]


def test_the_picture_has_them() -> None:
    y = np.array([1.0, 0.1, 0.01])
    picture = draw(ChartData("loss", (Curve("a", 0, np.arange(3.0), y, y),), log_y=True))
    assert "log10" not in picture
    axis = [line.split("┤")[0].strip() for line in picture.splitlines() if "┤" in line]
    assert axis == ["1", "0.1", "0.01"]


def lines_of(count: int) -> ChartData:
    y = np.array([1.0, 2.0, 3.0])
    return ChartData(
        "loss", tuple(Curve(f"run{i:02}", i, np.arange(3.0), y + i, y + i) for i in range(count))
    )


def test_every_line_is_named_under_the_picture_however_many_there_are() -> None:
    picture = draw(lines_of(40))
    named = picture[picture.index("step") :].split()
    assert named[2::2] == [f"run{i:02}" for i in range(40)]
    assert max(map(len, picture.splitlines())) <= PIPED_WIDTH


@pytest.mark.parametrize(("system", "colors"), [("standard", 8), ("256", 16), ("truecolor", len(PALETTE))])
def test_no_two_lines_of_some_dozens_look_alike(system: str, colors: int) -> None:
    looks = [look_of(style, 0, system) for style in range(4 * colors)]
    assert len({*looks}) == len(looks)
    assert {color for color, _ in looks[:colors]} == {color for color, _ in looks[colors : 2 * colors]}


def test_linear_axes_have_round_labels() -> None:
    x = np.array([14.5, 2509.5, 9994.5])
    picture = draw(ChartData("loss", (Curve("a", 0, x, x / 10_000, x / 10_000),)))
    axis = [line.split("┤")[0].strip() for line in picture.splitlines() if "┤" in line]
    assert axis == ["0.8", "0.6", "0.4", "0.2"]
    assert ["2k", "4k", "6k", "8k"] in [line.split() for line in picture.splitlines()]
