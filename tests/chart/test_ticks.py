"""Ticks are few, round, within the axis, and their labels say what they are."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bntui.chart.scale import Scale
from bntui.chart.ticks import exact, extended, short, snapped, ticks

lows = st.floats(-1e9, 1e9)
spans = st.floats(1e-6, 1e9)
counts = st.integers(1, 12)


def labels(low: float, high: float, most: int, log: bool = False) -> list[str]:
    return [tick.label for tick in ticks(Scale(low, high, log), most)]


def number(label: str) -> float:
    return float(label.removesuffix("k")) * (1000 if label.endswith("k") else 1)


@given(lows, spans, counts)
def test_linear_ticks_are_few_ascending_and_within_the_axis(low: float, span: float, most: int) -> None:
    found = [tick.value for tick in ticks(Scale(low, low + span), most)]
    assert len(found) <= most + 1
    assert found == sorted(set(found))
    assert all(low - 1e-6 * span <= value <= low + span * (1 + 1e-6) for value in found)


@given(lows, spans, st.integers(2, 12))
def test_linear_ticks_are_evenly_spaced_by_a_round_step(low: float, span: float, most: int) -> None:
    found = [tick.value for tick in ticks(Scale(low, low + span), most)]
    for first, second in itertools.pairwise(found):
        step = second - first
        mantissa = step / 10 ** math.floor(math.log10(step) + 1e-6)
        slack = 1e-6 + 1e-9 * abs(low) / span
        assert min(abs(mantissa - m) for m in (1, 2, 2.5, 5, 10)) < slack


@given(st.floats(-1e5, 1e5), st.floats(1e-3, 1e6), counts)
def test_labels_say_the_value_and_differ(low: float, span: float, most: int) -> None:
    found = ticks(Scale(low, low + span), most)
    assert len({tick.label for tick in found}) == len(found)
    for tick in found:
        assert number(tick.label) == pytest.approx(tick.value, rel=1e-9, abs=1e-9 * span)


@given(st.floats(-12, 12), st.floats(0.01, 30.0), counts)
def test_ticks_of_what_falls_are_ascending_round_values_of_it(low: float, span: float, most: int) -> None:
    scale = Scale(low, low + span, falling=True)
    found = ticks(scale, most)
    assert [tick.value for tick in found] == sorted(tick.value for tick in found)
    for tick in found:
        assert low - 1e-6 <= tick.value <= low + span + 1e-6
        assert number(tick.label) == pytest.approx(scale.written(tick.value), rel=1e-6)


@pytest.mark.parametrize("ends", [(-400.0, 1.0), (0.0, 400.0), (-1e9, 1e9)])
def test_what_falls_beyond_all_numbers_has_no_ticks_or_some(ends: tuple[float, float]) -> None:
    assert all(math.isfinite(tick.value) for tick in ticks(Scale(*ends, falling=True), 5))


@given(st.integers(-12, 9), st.floats(1.0, 12.0), counts)
def test_logarithmic_ticks_are_within_the_axis_and_of_one_digit(
    power: int, decades: float, most: int
) -> None:
    scale = Scale(10.0**power, 10.0 ** (power + decades), log=True)
    found = ticks(scale, most)
    assert 1 <= len(found) <= most + 1
    for tick in found:
        assert scale.low * (1 - 1e-6) <= tick.value <= scale.high * (1 + 1e-6)
        mantissa = tick.value / 10 ** math.floor(math.log10(tick.value) + 1e-9)
        assert min(abs(mantissa - m) for m in (1, 2, 3, 5)) < 1e-6
        assert number(tick.label) == pytest.approx(tick.value)


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0, 8000, 4, ["0", "2k", "4k", "6k", "8k"]),
        (0, 1, 5, ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0, 0.001, 4, ["0", "2.5e-4", "5e-4", "7.5e-4", "1e-3"]),
        (-1, 1, 4, ["-1.0", "-0.5", "0", "0.5", "1.0"]),
        (0, 3000, 6, ["0", "0.5k", "1.0k", "1.5k", "2.0k", "2.5k", "3.0k"]),
    ],
)
def test_linear_labels(low: float, high: float, most: int, expected: list[str]) -> None:
    assert labels(low, high, most) == expected


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0.001, 10, 5, ["1e-3", "0.01", "0.1", "1", "10"]),
        (0.1, 10, 7, ["0.1", "0.2", "0.5", "1", "2", "5", "10"]),
        (1e-8, 1e4, 4, ["1e-8", "1e-4", "1", "10k"]),
        (1.0, 3.0, 4, ["1.0", "1.5", "2.0", "2.5", "3.0"]),
    ],
)
def test_logarithmic_labels(low: float, high: float, most: int, expected: list[str]) -> None:
    assert labels(low, high, most, log=True) == expected


@pytest.mark.parametrize(
    "scale", [Scale(1.0, 1.0), Scale(2.0, 1.0), Scale(0.0, math.inf), Scale(math.nan, 1.0)]
)
def test_an_axis_without_extent_has_no_ticks(scale: Scale) -> None:
    assert ticks(scale, 5) == ()


@given(st.floats(0, 1e9), st.floats(1e-3, 1e9))
@example(0.015, 0.001953125)
def test_steps_end_at_a_round_number_not_much_beyond_the_last(low: float, span: float) -> None:
    first, last = extended(low, low + span)
    assert first <= low and last >= (low + span) * (1 - 1e-9)
    assert last - first <= 1.6 * max(span * 1.2, low + span) + 1e-9


def test_the_range_of_steps_grows_in_jumps() -> None:
    ends = {extended(0.0, float(step))[1] for step in range(1000, 10_000)}
    assert len(ends) <= 12


@given(st.floats(-1e9, 1e9), st.just(0.0) | st.floats(1e-200, 1e9))
def test_values_stay_within_a_range_around_them(low: float, span: float) -> None:
    first, last = snapped(low, low + span)
    assert first < last
    assert first <= low + 1e-6 * max(span, abs(low), 1) and last >= low + span - 1e-6 * max(span, abs(low), 1)
    if span > 1e-3 * abs(low):
        assert last - first <= 1.5 * span


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.25, "0.25"),
        (12.5, "12.5"),
        (2000, "2k"),
        (1e-3, "1e-3"),
        (2.5e6, "2.5e6"),
        (math.inf, "inf"),
    ],
)
def test_short_numbers(value: float, text: str) -> None:
    assert short(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(4800.0, "4,800"), (12.1, "12.1"), (0.02, "0.02"), (1.23456e-7, "1.235e-7"), (math.nan, "nan")],
)
def test_exact_numbers(value: float, text: str) -> None:
    assert exact(value) == text
