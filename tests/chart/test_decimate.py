"""The span of each column is what the polyline reaches there: no more, no less."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bntui.chart.layers import envelope, highest
from bntui.chart.scale import Scale
from chart.factories import band, line

numbers = st.floats(-100, 100)
series = st.lists(numbers, min_size=1, max_size=80)
gappy = st.lists(numbers | st.just(np.nan), min_size=1, max_size=80)
widths = st.integers(1, 40)


def polyline(values: list[float], x: np.ndarray) -> np.ndarray:
    """Its value at each x, by the dumbest means: NaN outside, and between two points of which one is NaN."""
    result = []
    for at in x.tolist():
        left = int(np.floor(at))
        weight = at - left
        if not 0 <= at <= len(values) - 1:
            result.append(np.nan)
        elif weight == 0:
            result.append(values[left])
        else:
            result.append(values[left] * (1 - weight) + values[left + 1] * weight)
    return np.array(result)


@given(st.lists(numbers, min_size=40, max_size=80), st.integers(1, 20), st.integers(0, 80))
def test_of_a_range_the_points_of_each_column_count(values: list[float], width: int, beyond: int) -> None:
    """Where every column has some, up to the last point; so nothing of it lies beyond the range of those of its
    polylines."""
    both = band(values, [value + 1 for value in values])
    scale = Scale(0.0, float(len(values) + beyond))
    whole = envelope(both, scale, width, log_y=False)
    tinted = envelope(replace(both, weight="spread"), scale, width, log_y=False)
    columns = np.searchsorted(scale.bounds(width)[1:-1], np.arange(len(values)), side="right")
    reached = int(columns[-1]) + 1
    assert (whole.low <= tinted.low)[:reached].all() and (tinted.high <= whole.high)[:reached].all()
    assert tinted.low[:reached].tolist() == [min(np.array(values)[columns == c]) for c in range(reached)]
    assert np.isnan(tinted.low[reached:]).all()


@given(gappy, widths)
def test_every_point_lies_in_the_span_of_its_column(values: list[float], width: int) -> None:
    scale = Scale(0.0, float(len(values)))
    span = envelope(line(values), scale, width, log_y=False)
    for x, value in enumerate(values):
        if np.isfinite(value):
            column = min(width - 1, int(x / len(values) * width + 1e-9))
            near = [c for c in (column - 1, column, column + 1) if 0 <= c < width]
            assert any(span.low[c] <= value <= span.high[c] for c in near)


@given(gappy, widths, st.floats(0, 1), st.floats(0.05, 1))
def test_no_span_leaves_the_polyline(values: list[float], width: int, start: float, length: float) -> None:
    first = start * len(values)
    scale = Scale(first, first + length * len(values))
    span = envelope(line(values), scale, width, log_y=False)
    bounds = np.linspace(scale.low, scale.high, width + 1)
    for c in range(width):
        points = np.arange(np.ceil(bounds[c] - 1e-9), np.floor(bounds[c + 1] + 1e-9) + 1)
        reached = polyline(values, np.concatenate([bounds[c : c + 2], points]))
        reached = np.concatenate(
            [reached, [v for x, v in enumerate(values) if bounds[c] <= x <= bounds[c + 1]]]
        )
        if np.isnan(span.low[c]):
            assert np.isnan(span.high[c])
        else:
            assert span.low[c] >= np.nanmin(reached) - 1e-6
            assert span.high[c] <= np.nanmax(reached) + 1e-6


@given(series, widths)
def test_neighbouring_spans_touch(values: list[float], width: int) -> None:
    span = envelope(line(values), Scale(0.0, float(len(values))), width, log_y=False)
    for c in range(width - 1):
        if not np.isnan(span.low[c]) and not np.isnan(span.low[c + 1]):
            assert span.low[c] <= span.high[c + 1] and span.low[c + 1] <= span.high[c]


def test_a_gap_stays_a_gap() -> None:
    values = [1.0, 1.0, np.nan, np.nan, np.nan, 1.0, 1.0]
    span = envelope(line(values), Scale(0.0, 7.0), 7, log_y=False)
    assert np.isnan(span.low).tolist() == [False, False, True, True, True, False, False]


def test_infinities_are_clipped_and_flagged() -> None:
    span = envelope(line([1.0, np.inf, 1.0, -np.inf, 1.0]), Scale(0.0, 5.0), 5, log_y=False)
    assert span.over.tolist() == [False, True, False, False, False]
    assert span.under.tolist() == [False, False, False, True, False]
    assert np.isfinite(span.low).all() and np.isfinite(span.high).all()


def test_what_is_not_positive_is_flagged_on_a_logarithmic_axis() -> None:
    span = envelope(line([1.0, 0.0, -3.0, 100.0]), Scale(0.0, 4.0), 4, log_y=True)
    assert span.under.tolist() == [False, True, True, False]
    assert span.high[3] == 2.0


def test_a_band_reaches_from_its_lowest_to_its_highest() -> None:
    span = envelope(band([0.0, 1.0, -5.0, 0.0], [2.0, 9.0, 3.0, 1.0]), Scale(0.0, 4.0), 1, log_y=False)
    assert (span.low[0], span.high[0]) == (-5.0, 9.0)


def test_a_hundred_thousand_points_lose_no_spike() -> None:
    values = np.zeros(100_000)
    values[70_001] = 5.0
    span = envelope(line(values), Scale(0.0, 100_000.0), 100, log_y=False)
    assert span.high.tolist() == [0.0] * 70 + [5.0] + [0.0] * 29


def test_a_floor_holds_until_its_next_point() -> None:
    floor = highest(np.array([0.0, 4.0]), np.array([1.0, 3.0]), Scale(0.0, 8.0), 8)
    assert floor.tolist() == [1.0, 1.0, 1.0, 1.0, 3.0, 3.0, 3.0, 3.0]
