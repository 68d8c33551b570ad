"""A grid of cells is what the terminal shows, and knows what changed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from bntui.chart.cell_style import cell_style, rgb
from bntui.chart.grid import Grid, cells, fitted, fitted_title

STYLE = cell_style(rgb(200, 200, 200), rgb(0, 0, 0))
OTHER = cell_style(rgb(200, 0, 0), rgb(0, 0, 0))


@given(st.text(max_size=20), st.integers(1, 12))
def test_fitted_text_takes_no_more_than_its_width(text: str, width: int) -> None:
    assert len(cells(fitted(text, width))) <= width


@given(st.text(max_size=20), st.integers(0, 9))
def test_a_row_is_as_wide_as_the_grid_whatever_is_written(text: str, column: int) -> None:
    grid = Grid(10, 1, STYLE)
    grid.write(0, column, text, OTHER)
    strip = grid.strip(0)
    assert strip.cell_length == 10
    assert cell_len(strip.text) == 10


def test_nothing_that_steers_a_terminal_is_written() -> None:
    grid = Grid(20, 1, STYLE)
    grid.write(0, 0, "a\x1b[31m\x07\u202eb", STYLE)
    assert grid.plain()[0].rstrip() == "a[31mb"


def test_what_lies_outside_is_left_out() -> None:
    grid = Grid(4, 2, STYLE)
    grid.write(5, 0, "x", STYLE)
    grid.write(0, 9, "x", STYLE)
    grid.write(1, 2, "long", STYLE)
    assert grid.plain() == ["    ", "  l…"]


def test_a_strip_has_a_segment_for_each_ink() -> None:
    grid = Grid(6, 1, STYLE)
    grid.write(0, 1, "ab", OTHER)
    grid.write(0, 4, "c", STYLE)
    assert [segment.text for segment in grid.strip(0)] == [" ", "ab ", "c "]


def test_blank_cells_keep_their_background() -> None:
    grid = Grid(4, 1, STYLE)
    grid.fill(0, slice(2, 4), " ", cell_style(rgb(1, 1, 1), rgb(9, 9, 9)))
    assert [segment.text for segment in grid.strip(0)] == ["  ", "  "]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 29), st.booleans()), max_size=30))
def test_every_change_is_told_and_no_row_without_one(places: list[tuple[int, int, bool]]) -> None:
    before, after = Grid(30, 4, STYLE), Grid(30, 4, STYLE)
    for row, column, by_ink in places:
        after.write(row, column, " " if by_ink else "x", OTHER if by_ink else STYLE)
    reported = np.zeros((4, 30), bool)
    for row, first, length in after.changes(before):
        reported[row, first : first + length] = True
        assert {first, first + length - 1} <= {c for r, c, _ in places if r == row}
    assert all(reported[row, column] for row, column, _ in places)


def test_a_grid_of_another_size_is_all_new() -> None:
    assert list(Grid(3, 2, STYLE).changes(Grid(4, 2, STYLE))) == [(0, 0, 3), (1, 0, 3)]


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (41, "conv · Mean of the output, layer 9, conv7"),
        (40, "conv · Mean of the output, layer 9"),
        (33, "conv · Mean of the output"),
        (24, "conv · Mean of the outp…"),
    ],
)
def test_of_a_title_that_does_not_fit_details_are_left_out(width: int, shown: str) -> None:
    assert fitted_title("conv · Mean of the output, layer 9, conv7", width) == shown


def test_the_name_of_a_facet_is_not_taken_for_details() -> None:
    assert fitted_title("lr 0.1, adam · Training loss", 20) == "lr 0.1, adam · Trai…"
