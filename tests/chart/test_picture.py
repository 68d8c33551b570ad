"""Whole charts: what they look like, and that nothing that may come breaks them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from bncore.figure import ChartData, Curve, HLine, VLine
from bntui.chart.cell_style import cell_style
from bntui.chart.frame import ChartStyle, TerminalPicture
from bntui.chart.palette import ANSI, DARK, MONOCHROME, Palette
from bntui.chart.picture import draw
from bntui.chart.view import View
from chart.factories import band, chart, dots_of, line

STEPS = np.linspace(0, 8000, 200)
TWO_RUNS = chart(
    line(12 * np.exp(-STEPS / 2000) + 0.5, STEPS, 0, label="none"),
    line(4 * np.exp(-STEPS / 1000) + 0.1, STEPS, 1, label="batch"),
    title="ICS",
    vlines=(VLine(3000, "noise on"),),
    hlines=(HLine(0.2, "2/lr"),),
    log_y=True,
)


def rows(data: ChartData, width: int, height: int, view: View = View(), **look: object) -> list[str]:  # noqa: B008
    return draw(data, width, height, view, ChartStyle(**look)).grid.plain()  # type: ignore[arg-type]


def color_at(picture: TerminalPicture, row: int, column: int) -> int:
    return int(picture.grid.styles[row, column])


def test_a_chart_looks_like_this() -> None:
    assert rows(TWO_RUNS, 48, 12) == [
        "╭─ ICS ────────────────────────────────── log ─╮",
        "│   10 ⠉⠓⠦⢤⣀⡀╌╌╌╌╌╌╌╌╌┊noise on╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌│",
        "│           ⠉⠓⠲⢤⣀⡀    ┊                        │",
        "│    3 ⠦⣄╌╌╌╌╌╌╌╌⠉⠙⠒⠦⣄⣀╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌│",
        "│       ⠈⠳⢤⡀          ⠈⠉⠓⠲⠤⣄⣀⡀                 │",
        "│          ⠙⠲⣄        ┊      ⠉⠙⠒⠲⠤⢤⣀⣀          │",
        "│    1 ╌╌╌╌╌╌⠈⠓⢦⣀╌╌╌╌╌┊╌╌╌╌╌╌╌╌╌╌╌╌╌⠈⠉⠙⠒⠒⠦⠤⠤⢤⣀⣀│",
        "│               ⠈⠳⢤⣀  ┊                        │",
        "│  0.3 ╌╌╌╌╌╌╌╌╌╌╌╌⠈⠓⠦⣄⡀╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌│",
        "│      ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┊⠉⠓⠦⣄⣀┄┄┄┄┄┄┄┄┄┄┄┄┄ 2/lr │",
        "│  0.1 ╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌┊╌╌╌╌⠈⠉⠙⠒⠲⠤⠤⠤⢤⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀│",
        "╰───── 0 ────── 2k ────── 4k ────── 6k ────────╯",
    ]


def test_the_reference_is_twice_as_thick_and_without_gaps() -> None:
    """In 16 colours style 1 is dashed; a level line has one dot in each column."""
    level = line(np.ones(100), style=1)
    drawn = (rows(chart(replace(level, bold=bold)), 48, 12, palette=ANSI) for bold in (False, True))
    thin, thick = map(dots_of, drawn)
    lit = thick.any(axis=0)
    assert thick.sum() == 2 * lit.sum()
    assert 0 < thin.any(axis=0).sum() < lit.sum()


def test_a_chart_in_16_colours_looks_like_this() -> None:
    assert rows(TWO_RUNS, 48, 12, palette=ANSI) == [
        "╭─ ICS ────────────────────────────────── log ─╮",
        "│   10 ⠉⠓⠦⢤⣀⡀         ┊noise on                │",
        "│           ⠉⠓⠲⢤⣀⡀    ┊                        │",
        "│    3 ⠦⣄        ⠉⠙⠒⠦⣄⣀                        │",
        "│       ⠈ ⢤⡀          ⠈⠉⠓⠲⠤⣄⣀⡀                 │",
        "│          ⠙ ⣄        ┊      ⠉⠙⠒⠲⠤⢤⣀⣀          │",
        "│    1       ⠈⠓ ⣀     ┊             ⠈⠉⠙⠒⠒⠦⠤⠤⢤⣀⣀│",
        "│               ⠈⠳ ⣀  ┊                        │",
        "│  0.3             ⠈⠓ ⣄⡀                       │",
        "│      ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┊⠉┄⠦⣄┄┄┄┄┄┄┄┄┄┄┄┄┄┄ 2/lr │",
        "│  0.1                ┊     ⠉⠙ ⠲⠤ ⠤⢤ ⣀⣀ ⣀⣀ ⣀⣀ ⣀│",
        "╰───── 0 ────── 2k ────── 4k ────── 6k ────────╯",
    ]


def test_a_band_in_16_colours_keeps_its_edges() -> None:
    assert rows(chart(band([0, 1, 1, 0], [1, 3, 3, 1])), 30, 8, palette=ANSI)[1:-1] == [
        "│    3      ⡠⠊⠉⠉⠉⠉⠉⠉⠉⠉⠑⢄     │",
        "│         ⢀⠔⠁⢁⠔⢁⠔⢁⠔⢁⠔⢁⠔⠈⠢⡀   │",
        "│    2  ⢀⠔⠁⢁⠔⢁⠔⢁⠔⢁⠔⢁⠔⢁⠔⢁⠔⠈⠢⡀ │",
        "│      ⠔⠁⢁⠔⢁⠔⢁⠔⢁⠔⢁⠔⢁⠔⢁⠔⢁⠔⢁⠔⠈⠢│",
        "│    1 ⢁⠔⢁⠔⣀⠤⠊⠉⠉⠉⠉⠉⠉⠉⠉⠑⠤⣀⢁⠔⢁⠔│",
        "│    0 ⣀⠤⠒⠉              ⠉⠒⠤⣀│",
    ]


def test_gaps_infinities_and_the_end_of_a_diverged_run_are_shown() -> None:
    data = chart(line([1, 2, np.nan, 3, np.inf, -np.inf, 2], diverged=True))
    assert rows(data, 24, 7, palette=MONOCHROME)[1:-1] == [
        "│    3         ⠁ ▲⢸    │",
        "│                 ⢸    │",
        "│    2   ⡤        ⢸   ✕│",
        "│       ⡼⠁        ⢸   ⢸│",
        "│    1 ⡼⠁         ⢸ ▼ ⢸│",
    ]


def test_an_empty_chart_says_why() -> None:
    assert rows(chart(note="no probe of this kind in these runs"), 24, 6) == [
        "╭─ Loss ───────────────╮",
        "│                      │",
        "│   no probe of this   │",
        "│  kind in these runs  │",
        "│                      │",
        "╰──────────────────────╯",
    ]


def test_one_point_is_one_dot() -> None:
    assert dots_of(rows(chart(line([1.0])), 40, 10, palette=MONOCHROME)).sum() == 1


def test_the_crosshair_reads_every_curve_in_the_bottom_border() -> None:
    bottom = rows(TWO_RUNS, 48, 12, crosshair=4000.0)[-1]
    assert bottom == "╰─ at 3,980: none 2.14  batch 0.1748 ──────────╯"


@pytest.mark.parametrize(
    ("width", "said"),
    [
        (70, "run of none 2.14 ± 0.25  run of batch 0.1748 ± 0.25"),
        (60, "run of none 2.14  run of batch 0.1748"),
        (48, "run …one 2.14  run …tch 0.1748"),
        (44, "ru…ne 2.14  ru…ch 0.1748"),
        (34, "ru…ne 2.14  +1"),
    ],
)
def test_a_reading_that_is_too_long_is_cut_but_names_its_curves(width: int, said: str) -> None:
    floor = np.full(len(STEPS), 0.25)
    curves = [replace(curve, label=f"run of {curve.label}", floor=floor) for curve in TWO_RUNS.curves]
    assert (
        f"at 3,980: {said}" in rows(replace(TWO_RUNS, curves=tuple(curves)), width, 12, crosshair=4000.0)[-1]
    )


def test_a_reading_tells_the_noise_floor_and_the_ends_of_a_band() -> None:
    data = chart(line([3.0, 3.0], floor=np.array([0.5, 0.5])), band([1.0, 1.0], [2.0, 2.0], 1))
    assert "run 0 3 ± 0.5  run 1 1…2" in rows(data, 60, 9, crosshair=1.0)[-1]


def test_what_ended_before_the_crosshair_is_not_read() -> None:
    data = chart(line([1.0] * 100), line([2.0] * 10, style=1))
    assert rows(data, 60, 9, crosshair=80.0)[-1].startswith("╰─ at 80: run 0 1 ─")


def test_the_text_of_a_mark_stands_where_no_curve_is() -> None:
    high = line(np.r_[np.ones(50), np.zeros(50)])
    text_row = next(
        i
        for i, row in enumerate(rows(chart(high, vlines=(VLine(10, "noise on"),)), 60, 14))
        if "noise" in row
    )
    assert text_row > 1


def test_two_marks_close_together_keep_both_texts() -> None:
    data = chart(line(np.zeros(100)), vlines=(VLine(50, "noise on"), VLine(51, "norm → l1")))
    text = "\n".join(rows(data, 60, 14))
    assert "noise on" in text and "norm → l1" in text


def test_a_later_curve_wins_the_colour_of_a_shared_cell() -> None:
    same = [1.0, 1.0]
    picture = draw(chart(line(same, style=0), line(same, style=2)), 30, 9)
    lit = dots_of(picture.grid.plain()).reshape(9, 4, 30, 2).any(axis=(1, 3))
    assert set(picture.grid.styles[lit]) == {cell_style(DARK.curve(2), DARK.background)}


def test_a_faint_curve_never_wins() -> None:
    same = [1.0, 1.0]
    picture = draw(chart(line(same, style=0), line(same, style=2, weight="faint")), 30, 9)
    lit = dots_of(picture.grid.plain()).reshape(9, 4, 30, 2).any(axis=(1, 3))
    assert set(picture.grid.styles[lit]) == {cell_style(DARK.curve(0), DARK.background)}


def test_what_lies_under_the_noise_floor_is_faint() -> None:
    values = np.linspace(0, 1, 100)
    picture = draw(chart(line(values, floor=np.full(100, 0.5))), 60, 20)
    lit = dots_of(picture.grid.plain()).reshape(20, 4, 60, 2).any(axis=(1, 3))
    styles = [set(picture.grid.styles[row][lit[row]]) for row in range(1, 19)]
    faint, strong = cell_style(DARK.faint(0), DARK.background), cell_style(DARK.curve(0), DARK.background)
    middle = next(i for i, found in enumerate(styles) if faint in found)
    assert all(found == {strong} for found in styles[:middle])
    assert all(found <= {faint, strong} for found in styles) and styles[-1] == {faint}


def test_smoothing_keeps_the_raw_curve_faint_behind() -> None:
    noisy = line(np.random.default_rng(0).normal(0, 1, 500))
    picture = draw(chart(noisy), 60, 20, chart_style=ChartStyle(smoothing=0.9))
    assert {cell_style(DARK.faint(0), DARK.background), cell_style(DARK.curve(0), DARK.background)} <= set(
        picture.grid.styles.flat
    )
    assert "smooth 0.9" in picture.grid.plain()[0]


def test_new_points_change_few_cells_while_the_axes_stay() -> None:
    values = np.exp(-np.arange(2000) / 700) + 0.1
    before = draw(chart(line(values[:1650]), log_y=True), 80, 24)
    after = draw(chart(line(values[:1670]), log_y=True), 80, 24)
    assert (before.x_scale, before.y_scale) == (after.x_scale, after.y_scale)
    assert 0 < sum(length for _, _, length in after.grid.changes(before.grid)) <= 12


def test_axes_stay_for_most_new_points() -> None:
    values = np.exp(-np.arange(2000) / 700) + 0.1
    pictures = [draw(chart(line(values[:n]), log_y=True), 80, 24) for n in range(200, 2001, 20)]
    scales = {(picture.x_scale, picture.y_scale) for picture in pictures}
    assert len(scales) < len(pictures) / 2


def test_a_chosen_view_is_kept_to() -> None:
    picture = draw(TWO_RUNS, 60, 15, View(x=(1000.0, 2000.0), y=(0.5, 5.0)))
    assert picture.x_scale is not None and picture.y_scale is not None
    assert (picture.x_scale.low, picture.x_scale.high) == (1000.0, 2000.0)
    assert (picture.y_scale.low, picture.y_scale.high) == (0.5, 5.0)


def test_values_fit_what_is_shown_not_what_is_hidden() -> None:
    data = chart(line(np.r_[np.full(50, 1000.0), np.linspace(0, 1, 50)]))
    scale = draw(data, 60, 15, View(x=(55.0, 95.0))).y_scale
    assert scale is not None and scale.high < 2


ANY = st.floats(allow_nan=True, allow_infinity=True)


@pytest.mark.parametrize("value", [1 - 1e-16, 1 + 3e-16, 1 + 1e-12, 1.0])
def test_values_beside_one_have_room_on_a_logarithmic_axis(value: float) -> None:
    y = np.array([value, value])
    picture = draw(ChartData("t", (Curve("a", 0, np.arange(2.0), y, y),), log_y=True), 40, 12)
    assert picture.y_scale is not None
    assert picture.y_scale.low < 0.9 * value < 1.1 * value < picture.y_scale.high


@settings(max_examples=150)
@given(
    st.lists(st.lists(ANY, max_size=12), max_size=3),
    st.integers(1, 60),
    st.integers(1, 14),
    st.booleans(),
    st.booleans(),
    st.sampled_from([DARK, ANSI, MONOCHROME]),
    st.none() | ANY,
)
def test_nothing_breaks_a_chart(  # noqa: PLR0917 - each is drawn by Hypothesis
    series: list[list[float]],
    width: int,
    height: int,
    log_y: bool,
    log_x: bool,
    palette: Palette,
    crosshair: float | None,
) -> None:
    curves = [line(values, style=i, diverged=i == 0) for i, values in enumerate(series)]
    curves += [replace(c, low=c.high - 1, floor=np.abs(c.high)) for c in curves if np.isfinite(c.high).all()]
    data = chart(
        *curves,
        log_y=log_y,
        log_x=log_x,
        vlines=(VLine(1, "noise\x1b on"),),
        hlines=(HLine(-1, "r"),),
        note="no",
    )
    for smoothing in (0.0, 0.9):
        grid = draw(data, width, height, chart_style=ChartStyle(palette, smoothing, crosshair)).grid
        assert [cell_len(grid.strip(row).text) for row in range(height)] == [width] * height


@pytest.mark.parametrize(("width", "height"), [(1, 1), (5, 2), (12, 4), (19, 5)])
def test_a_small_chart_draws_what_fits(width: int, height: int) -> None:
    assert dots_of(rows(chart(line([1.0, 2.0, 1.0])), width, height)).any()
