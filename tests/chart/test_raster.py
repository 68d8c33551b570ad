"""Dots cover what they stand for and nothing else."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bncore.figure import DASHES
from bntui.chart.layers import envelope
from bntui.chart.palette import dashes
from bntui.chart.raster import BLANK, band_dots, braille_bits, covered, dashed, line_dots, rows_of
from bntui.chart.scale import Scale
from chart.factories import dots_of, line

series = st.lists(st.floats(0, 1) | st.just(np.nan), min_size=1, max_size=60)


@given(series, st.integers(1, 10), st.integers(1, 30))
def test_every_finite_point_lights_a_dot_in_its_column(values: list[float], height: int, width: int) -> None:
    curve = line(values)
    scale = Scale(0.0, float(len(values)))
    span = envelope(curve, scale, 2 * width, log_y=False)
    dots = line_dots(span.low, span.high, 4 * height)
    columns = np.searchsorted(scale.bounds(2 * width), curve.x, side="right") - 1
    for column, value in zip(columns.tolist(), values, strict=True):
        if np.isfinite(value):
            assert dots[rows_of(np.array([value]), 4 * height)[0], column]


@given(series, st.integers(1, 10), st.integers(1, 30))
def test_no_dot_lies_outside_of_the_values(values: list[float], height: int, width: int) -> None:
    span = envelope(line(values), Scale(0.0, float(len(values))), 2 * width, log_y=False)
    dots = line_dots(span.low, span.high, 4 * height)
    finite = [v for v in values if np.isfinite(v)]
    if not finite:
        assert not dots.any()
        return
    top, bottom = rows_of(np.array([max(finite), min(finite)]), 4 * height)
    assert not dots[:top].any() and not dots[bottom + 1 :].any()


@given(st.lists(st.floats(0, 1), min_size=2, max_size=60), st.integers(1, 10), st.integers(1, 30))
def test_a_line_without_gaps_is_connected(values: list[float], height: int, width: int) -> None:
    span = envelope(line(values), Scale(0.0, len(values) - 1.0), 2 * width, log_y=False)
    dots = line_dots(span.low, span.high, 4 * height)
    for c in range(2 * width - 1):
        assert (dots[:, c] & dots[:, c + 1]).any()


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40), st.integers(1, 8))
def test_edges_and_inside_of_a_band_are_the_band(pairs: list[tuple[float, float]], height: int) -> None:
    low, high = np.array([min(p) for p in pairs]), np.array([max(p) for p in pairs])
    edges, inside = band_dots(low, high, 4 * height)
    assert not (edges & inside).any()
    np.testing.assert_array_equal(edges | inside, line_dots(low, high, 4 * height))
    for c, (top, bottom) in enumerate(zip(rows_of(high, 4 * height), rows_of(low, 4 * height), strict=True)):
        assert edges[top, c] and edges[bottom, c]


@given(
    st.lists(st.tuples(st.floats(-0.5, 1.5) | st.just(np.nan), st.floats(0, 1)), min_size=2, max_size=40),
    st.integers(1, 8),
)
def test_dots_of_a_cell_are_counted(pairs: list[tuple[float, float]], height: int) -> None:
    pairs = pairs[: len(pairs) // 2 * 2]
    low = np.array([first for first, _ in pairs])
    high = low + np.array([span for _, span in pairs])
    dots = line_dots(low, high, 4 * height).reshape(height, 4, -1, 2)
    np.testing.assert_array_equal(covered(low, high, 4 * height), dots.sum(axis=(1, 3)))


def test_a_band_cut_by_the_view_has_no_edge_there() -> None:
    edges, inside = band_dots(np.full(6, -1.0), np.full(6, 2.0), 8)
    assert not edges.any() and inside.all()


def test_what_is_out_of_view_lights_nothing() -> None:
    assert not line_dots(np.array([1.2, -3.0]), np.array([1.5, -2.0]), 8).any()


@given(st.integers(1, 5), st.integers(1, 7), st.data())
def test_braille_characters_show_the_dots(height: int, width: int, data: st.DataObject) -> None:
    lit = data.draw(st.lists(st.booleans(), min_size=8 * height * width, max_size=8 * height * width))
    dots = np.array(lit).reshape(4 * height, 2 * width)
    rows = ["".join(chr(BLANK + int(bits)) for bits in row) for row in braille_bits(dots)]
    np.testing.assert_array_equal(dots_of(rows), dots)


def test_a_dash_pattern_leaves_the_ends_of_a_spike() -> None:
    dots = np.zeros((16, 20), bool)
    dots[10] = True
    dots[2:11, 5] = True
    left = dashed(dots, dashes(1, 20))
    assert not dashes(1, 20)[5]
    assert np.flatnonzero(left[:, 5]).tolist() == [2, 10]


def test_a_dash_pattern_hides_no_point_that_stands_alone() -> None:
    dots = np.zeros((4, 20), bool)
    dots[1, ::2] = True
    for style in range(len(DASHES)):
        np.testing.assert_array_equal(dashed(dots, dashes(style, 20)), dots)
