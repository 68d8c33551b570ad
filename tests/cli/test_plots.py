"""An axis of logarithms is labelled with the values themselves."""

from __future__ import annotations

import numpy as np
import pytest

from bncore.figure import PALETTE, ChartData, Curve
from bntui.cli.terminal_chart import MOST_TICKS, PIPED_WIDTH, draw, look_of


def picture_of(low: float, high: float, *, log: bool) -> str:
    y = np.array([low, high])
    return draw(ChartData("loss", (Curve("a", 0, np.arange(2.0), y, y),), log_y=log))


@pytest.mark.parametrize(
    ("low", "high", "log", "labels"),
    [
        (1e-3, 1e2, True, ["100", "10", "1", "0.1", "0.01", "1e-3"]),
        (0.1, 10, True, ["10", "5", "2", "1", "0.5", "0.2", "0.1"]),
        (0.9, 11, True, ["10", "5", "2", "1"]),
        (1e-12, 1e9, True, ["1e8", "10k", "1", "1e-4", "1e-8", "1e-12"]),
        (20000, 95000, True, ["80k", "60k", "40k", "20k"]),
        (1, 1, True, ["1"]),
        (0.15, 0.99, False, ["0.8", "0.6", "0.4", "0.2"]),
    ],
)
def test_axes_have_round_labels(low: float, high: float, log: bool, labels: list[str]) -> None:
    lines = picture_of(low, high, log=log).splitlines()
    assert [line.split("┤")[0].strip() for line in lines if "┤" in line] == labels


@pytest.mark.parametrize("decades", [0.01, 0.3, 1, 2.5, 7, 30, 300])
def test_there_are_some_and_not_too_many(decades: float) -> None:
    for start in (-50.3, -1.7, 0.0, 3.14):
        count = picture_of(10**start, 10 ** (start + decades), log=True).count("┤")
        assert 1 <= count <= MOST_TICKS + 1


def test_what_falls_is_labelled_with_its_values() -> None:
    y = np.ones(3)
    curve = Curve("a", 0, np.array([-1.0, 0.0, 1.0]), y, y)
    picture = draw(ChartData("loss", (curve,), x_name="training loss", falling=True))
    assert ["10", "3", "1", "0.3", "0.1"] in [line.split() for line in picture.splitlines()]


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


def test_steps_have_round_labels() -> None:
    x = np.array([14.5, 2509.5, 9994.5])
    picture = draw(ChartData("loss", (Curve("a", 0, x, x, x),)))
    assert ["2k", "4k", "6k", "8k"] in [line.split() for line in picture.splitlines()]
