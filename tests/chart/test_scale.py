"""An axis takes values to places and back without loss."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bntui.chart.scale import Scale, warped

positive = st.floats(1e-12, 1e12)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.floats(0, 1))
def test_a_linear_place_leads_back_to_its_value(low: float, span: float, fraction: float) -> None:
    scale = Scale(low, low + span)
    value = scale.value(np.array([fraction]))
    assert scale.fraction(value)[0] == pytest.approx(fraction, abs=1e-6)


@given(positive, st.floats(1.01, 1e9), st.floats(0, 1))
def test_a_logarithmic_place_leads_back_to_its_value(low: float, ratio: float, fraction: float) -> None:
    scale = Scale(low, low * ratio, log=True)
    value = scale.value(np.array([fraction]))
    assert low * 0.999999 <= value[0] <= low * ratio * 1.000001
    assert scale.fraction(value)[0] == pytest.approx(fraction, abs=1e-6)


def test_the_ends_lie_at_zero_and_one() -> None:
    for scale in (Scale(-3.0, 5.0), Scale(0.01, 100.0, log=True)):
        assert scale.fraction(np.array([scale.low, scale.high])).tolist() == [0.0, 1.0]


def test_what_is_not_positive_lies_infinitely_low_on_a_logarithmic_axis() -> None:
    places = warped(np.array([0.0, -1.0, 1.0, np.nan, np.inf]), log=True)
    assert places[:3].tolist() == [-np.inf, -np.inf, 0.0]
    assert np.isnan(places[3]) and places[4] == np.inf


@given(st.floats(0.0, 1.0), st.floats(0.1, 10.0), st.booleans())
def test_zooming_keeps_the_place_it_zooms_around(around: float, factor: float, log: bool) -> None:
    scale = Scale(2.0, 50.0, log)
    kept = scale.value(np.array([around]))
    assert scale.zoomed(factor, around).fraction(kept)[0] == pytest.approx(around, abs=1e-9)


def test_zooming_stops_before_the_ends_meet() -> None:
    scale = Scale(1.0, 2.0)
    for _ in range(500):
        scale = scale.zoomed(0.5)
    assert scale.low < scale.high


def test_zooming_out_stops_before_infinity() -> None:
    for log in (False, True):
        scale = Scale(1.0, 2.0, log)
        for _ in range(5000):
            scale = scale.zoomed(2.0)
        assert np.isfinite([scale.low, scale.high]).all() and scale.low < scale.high


def test_moving_shifts_by_a_fraction_of_what_is_shown() -> None:
    assert Scale(0.0, 10.0).moved(0.1) == Scale(1.0, 11.0)
    moved = Scale(1.0, 100.0, log=True).moved(0.5)
    assert (moved.low, moved.high) == pytest.approx((10.0, 1000.0))
