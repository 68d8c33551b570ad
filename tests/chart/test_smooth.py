"""Smoothing equals its definition, and passes over what is not finite."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bntui.chart.smooth import smoothed

values = st.lists(st.floats(-1e3, 1e3) | st.sampled_from([np.nan, np.inf, -np.inf]), max_size=60)


def by_definition(y: list[float], a: float) -> list[float]:
    result, s, t = [], 0.0, 0
    for value in y:
        if not np.isfinite(value):
            result.append(value)
            continue
        s, t = a * s + (1 - a) * value, t + 1
        result.append(s / (1 - a**t))
    return result


@given(values, st.sampled_from([0.1, 0.6, 0.9, 0.99, 0.999]))
def test_equals_its_definition(y: list[float], a: float) -> None:
    np.testing.assert_allclose(smoothed(np.array(y, float), a), by_definition(y, a), rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("a", [0.05, 0.6, 0.97, 0.999])
def test_equals_its_definition_over_many_blocks(a: float) -> None:
    y = np.random.default_rng(0).normal(1.0, 1.0, 3000)
    np.testing.assert_allclose(smoothed(y, a), by_definition(y.tolist(), a), rtol=1e-9, atol=1e-9)


def test_no_smoothing_changes_nothing() -> None:
    y = np.array([1.0, np.nan, 3.0])
    assert smoothed(y, 0.0) is y


def test_a_constant_stays_itself_from_the_first_point_on() -> None:
    np.testing.assert_allclose(smoothed(np.full(500, 7.0), 0.99), 7.0)
