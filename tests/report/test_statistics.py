"""Effects over seeds against the dumbest possible code."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bncore.aggregate import ENUMERATED
from bncore.report.statistics import estimate, paired, ratio_of_means

numbers = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=5)


def interval(sample: Sequence[float]) -> tuple[float, float]:
    found = estimate(dict(enumerate(sample)))
    assert found is not None
    return found.low, found.high


def oracle(sample: list[float]) -> tuple[float, float]:
    """Sort the means of all n^n resamples; the interval leaves at most 2.5 % of them on either side."""
    means = sorted(sum(chosen) / len(chosen) for chosen in product(sample, repeat=len(sample)))
    count = len(means)
    low = next(m for i, m in enumerate(means, start=1) if i >= 0.025 * count)
    high = next(m for i, m in enumerate(means, start=1) if i >= 0.975 * count)
    return low, high


@given(numbers)
def test_of_few_values_every_resample_is_looked_at(sample: list[float]) -> None:
    assert interval(sample) == pytest.approx(oracle(sample), abs=1e-9)


@given(numbers)
def test_the_mean_lies_in_its_interval(sample: list[float]) -> None:
    found = estimate(dict(enumerate(sample)))
    assert found is not None
    assert found.low - 1e-9 <= found.mean <= found.high + 1e-9
    assert found.n == len(sample)


def test_of_many_values_the_interval_is_that_of_a_normal_mean_and_always_the_same() -> None:
    source = random.Random(1)
    sample = np.array([source.gauss(3, 2) for _ in range(200)])
    low, high = interval(sample)
    half = 1.96 * sample.std() / 200**0.5
    assert (low, high) == pytest.approx((sample.mean() - half, sample.mean() + half), abs=0.05)
    assert (low, high) == interval(sample)
    assert len(sample) > ENUMERATED


def test_only_seeds_of_both_are_compared_each_with_its_own() -> None:
    found = paired({0: 1.0, 1: 5.0, 2: 9.0}, {1: 4.0, 2: 7.0, 3: 100.0})
    assert found is not None
    assert found.values == ((1, 1.0), (2, 2.0))
    assert found.mean == 1.5


def test_pairing_takes_out_what_seeds_have_in_common() -> None:
    theirs = {seed: 10.0 * seed for seed in range(4)}
    found = paired({seed: value + 0.5 for seed, value in theirs.items()}, theirs)
    assert found is not None
    assert (found.low, found.high) == (0.5, 0.5)


def test_what_is_not_finite_is_no_value() -> None:
    found = estimate({0: 1.0, 1: float("nan"), 2: float("inf")})
    assert found is not None
    assert found.values == ((0, 1.0),)
    assert estimate({0: float("nan")}) is None
    assert estimate({}) is None


def test_a_ratio_of_means_is_that_of_the_means_and_nothing_where_its_base_may_be_zero() -> None:
    over, under = {0: 1.0, 1: 2.0, 2: 3.0, 9: 100.0}, {0: 4.0, 1: 4.0, 2: 8.0, 7: 100.0}
    found = ratio_of_means(over, under)
    assert found is not None
    assert found.mean == pytest.approx(6 / 16)
    assert sum(value for _, value in found.values) / 3 == pytest.approx(found.mean)
    triples = list(product(range(3), repeat=3))
    ratios = sorted(sum(over[i] for i in t) / sum(under[i] for i in t) for t in triples)
    assert (found.low, found.high) == pytest.approx((ratios[0], ratios[-1]))  # of 27 the outermost
    assert ratio_of_means(over, {0: -1.0, 1: 4.0, 2: -2.0}) is None
    assert ratio_of_means(over, {5: 1.0}) is None
