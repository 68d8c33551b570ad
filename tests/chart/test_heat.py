"""Heat maps and histograms over the steps."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from bncore.figure import HeatData, HistogramData
from bntui.chart.cell_style import parts
from bntui.chart.frame import ChartStyle
from bntui.chart.heat_picture import column_means, draw_heat, draw_histogram, heat_colors, row_owners
from bntui.chart.palette import ANSI, DARK, MONOCHROME, Palette
from bntui.chart.scale import Scale

STEPS = np.arange(0.0, 100.0, 10.0)
LAYERS = HeatData("ICS", STEPS, ("conv1", "conv2", "conv3"), np.tile([0.0, 0.5, 1.0], (10, 1)))
EDGES = np.linspace(-2, 2, 9)
NARROW = HistogramData("Activations", STEPS, EDGES, np.tile([0, 0, 0, 1.0, 0.5, 0, 0, 0], (10, 1)))


def test_the_first_row_is_at_the_bottom() -> None:
    assert draw_heat(LAYERS, 30, 8, None, ChartStyle(ANSI)).grid.plain() == [
        "╭─ ICS ─────── 0   ░▒▒▓██ 1 ─╮",
        "│ conv3 ███████████████████  │",
        "│       ███████████████████  │",
        "│ conv2 ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒  │",
        "│       ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒  │",
        "│ conv1                      │",
        "│                            │",
        "╰────── 0 ────── 50 ─────────╯",
    ]


def test_a_histogram_over_the_steps_looks_like_this() -> None:
    rows = draw_histogram(NARROW, 30, 6, None, ChartStyle(ANSI)).grid.plain()
    assert [row[7:25] for row in rows[1:-1]] == [" " * 18, "▒" * 18, "█" * 18, " " * 18]


def test_what_was_not_measured_is_left_empty() -> None:
    missing = HeatData("ICS", STEPS, ("conv1",), np.full((10, 1), np.nan), note="no measurement yet")
    rows = draw_heat(missing, 30, 8, None, ChartStyle(ANSI)).grid.plain()
    assert any("no measurement yet" in row for row in rows)
    assert not any("█" in row for row in rows)


@given(st.integers(1, 30), st.integers(1, 40))
def test_every_row_has_cells_where_there_are_enough(rows: int, half_cells: int) -> None:
    owners = row_owners(rows, 2 * half_cells)
    assert len(owners) == 2 * half_cells
    assert (np.diff(owners) <= 0).all(), "the first row is at the bottom"
    if rows <= half_cells:
        assert set(owners.tolist()) == set(range(rows))
        assert (owners[0::2] == owners[1::2]).all(), "no cell is shared"


@given(
    st.lists(st.floats(-10, 10) | st.just(np.nan), min_size=1, max_size=20),
    st.integers(1, 12),
)
def test_a_column_shows_the_mean_of_its_steps_or_the_step_before(values: list[float], columns: int) -> None:
    scale = Scale(0.0, 20.0)
    x = np.arange(len(values), dtype=float)
    means = column_means(x, np.array(values)[:, None], scale, columns)[:, 0]
    for column, mean in enumerate(means):
        low, high = 20 * column / columns, 20 * (column + 1) / columns
        inside = [v for step, v in enumerate(values) if low <= step < high]
        if not inside:
            inside = [values[max(s for s in range(len(values)) if s < low)]] if low <= len(values) - 1 else []
        known = [v for v in inside if np.isfinite(v)]
        expected = sum(known) / len(known) if known else np.nan
        np.testing.assert_allclose(mean, expected, atol=1e-9)


@pytest.mark.parametrize("palette", [ANSI, DARK, MONOCHROME])
def test_names_of_rows_take_a_third_of_the_width_at_most(palette: Palette) -> None:
    named = HeatData("ICS", STEPS, ("a very long name of a layer",), np.ones((10, 1)))
    rows = draw_heat(named, 30, 8, None, ChartStyle(palette)).grid.plain()
    assert all(cell_len(row) == 30 for row in rows)
    assert any("…" in row[:12] for row in rows)


def test_colours_rise_in_lightness() -> None:
    colors = [parts(int(color)) for color in heat_colors()]
    lightness = [0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2] for c in colors if c is not None]
    assert (np.diff(lightness) >= 0).all()


def test_a_histogram_over_a_wider_range_is_empty_outside_its_bins() -> None:
    wider = replace(NARROW, span=(-4.0, 4.0))
    rows = draw_histogram(wider, 30, 10, None, ChartStyle(ANSI)).grid.plain()
    assert [row[7:25].strip() for row in rows[1:-1]] == ["", "", "", "▒" * 18, "█" * 18, "", "", ""]


def test_the_axes_are_named_where_there_is_room_and_no_label_is_written_over() -> None:
    for width in range(20, 140):
        bottom = draw_heat(LAYERS, width, 8, None, ChartStyle(ANSI)).grid.plain()[-1]
        assert ("layer ↑ step →" in bottom) == (width >= 57)
        assert set(re.findall(r"[\w.]+", bottom.replace("layer", "").replace("step", ""))) <= {
            str(step) for step in range(101)
        }
