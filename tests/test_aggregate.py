"""The mean of several series and its band, against plain numpy."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bncore.aggregate import BANDS, ENUMERATED, RESAMPLES, Aggregate, Member, aggregate
from bncore.config.measure import Band
from bncore.figure import Floats

VALUES = st.floats(1e-6, 1e6) | st.sampled_from([np.nan, np.inf, -1.0, 0.0])


@st.composite
def members(draw: st.DrawFn, most: int = 6) -> list[Member]:
    """Series of different beginnings, lengths and cadences, some ended, some empty."""
    found = []
    for _ in range(draw(st.integers(1, most))):
        first, every = draw(st.sampled_from([0, 0, 6])), draw(st.sampled_from([1, 1, 2, 3]))
        x = np.arange(first, first + every * draw(st.integers(0, 12)), every, dtype=np.float64)
        y = np.array(draw(st.lists(VALUES, min_size=len(x), max_size=len(x))), dtype=np.float64)
        found.append(Member(x, y, draw(st.booleans())))
    return found


def expected_steps(found: list[Member]) -> list[float]:
    """Steps that no member that has begun and not ended passes over."""
    spans = [one.x for one in found if len(one.x)]
    steps = sorted({step for x in spans for step in x})
    return [step for step in steps if all(step in x for x in spans if x[0] <= step <= x[-1])]


def present_at(found: list[Member], step: float) -> int:
    return sum(one.x[0] <= step <= one.x[-1] for one in found if len(one.x))


def values_at(found: list[Member], step: float, *, log: bool) -> list[float]:
    known = [float(one.y[one.x == step][0]) for one in found if step in one.x]
    return [value for value in known if np.isfinite(value) and (value > 0 or not log)]


def edges(values: Floats, band: Band) -> tuple[float, float]:
    match band:
        case "range" | "envelope":
            return values.min(), values.max()
        case "quartiles":
            low, high = np.quantile(values, [0.25, 0.75])
            return low, high
        case "deviation":
            spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
            return values.mean() - spread, values.mean() + spread
        case "interval":
            means = np.sort([np.mean(drawn) for drawn in product(values, repeat=len(values))])
            places = np.arange(1, len(means) + 1) / len(means)
            low, high = (means[np.searchsorted(places, share - 1e-9)] for share in (0.025, 0.975))
            return low, high


@settings(max_examples=60, deadline=None)
@given(members(most=4), st.sampled_from(sorted(BANDS)), st.booleans())
def test_against_plain_numpy(found: list[Member], band: Band, log: bool) -> None:
    result = aggregate(found, band, log=log)
    assert result.x.tolist() == expected_steps(found)
    for i, step in enumerate(result.x):
        values = np.array(values_at(found, step, log=log))
        assert result.count[i] == len(values)
        assert result.present[i] == present_at(found, step)
        if not len(values):
            assert np.isnan([result.mean[i], result.low[i], result.high[i]]).all()
            continue
        values = np.log10(values) if log else values
        want = np.array([values.mean(), *edges(values, band)])
        got = np.array([result.mean[i], result.low[i], result.high[i]])
        np.testing.assert_allclose(np.log10(got) if log else got, want, rtol=1e-9, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(members(), st.sampled_from(sorted(BANDS)), st.booleans(), st.integers(0, 12), st.data())
def test_what_is_known_changes_nothing(
    found: list[Member], band: Band, log: bool, cut: int, data: st.DataObject
) -> None:
    """An aggregate of the beginning, or of other values, as `before` gives what none gives."""
    other = [Member(one.x[:cut], one.y[:cut], one.ended) for one in found]
    if data.draw(st.booleans()):
        other = [one._replace(y=one.y * 2) if i == 0 else one for i, one in enumerate(found)]
    fresh = aggregate(found, band, log=log)
    again = aggregate(found, band, log=log, before=aggregate(other, band, log=log))
    for name in ("x", "mean", "low", "high", "count", "present", "complete", "table"):
        np.testing.assert_array_equal(getattr(again, name), getattr(fresh, name))


def test_only_what_is_new_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    x, columns = np.arange(1000.0), []
    summary = aggregate.__globals__["_summary"]

    def counted(table: Floats, band: Band, *, log: bool) -> object:
        columns.append(table.shape[1])
        return summary(table, band, log=log)

    monkeypatch.setitem(aggregate.__globals__, "_summary", counted)
    before: Aggregate | None = None
    for n in (990, 990, 1000):
        before = aggregate([Member(x[:n], np.sin(x[:n] + i)) for i in range(3)], before=before)
    later = [Member(x[100:], np.sin(x[100:] + i)) for i in range(3)]
    before = aggregate(later, before=before)
    aggregate([Member(x, np.sin(x + i)) for i in range(3)], before=before)  # history, filled in
    assert columns == [990, 10, 100]


def test_members_on_their_way_are_waited_for() -> None:
    x = np.arange(10.0)
    ended, going = Member(x, x), Member(x[:4], x[:4] + 2, ended=False)
    assert aggregate([ended, going]).complete.tolist() == [True] * 4 + [False] * 6
    assert aggregate([ended, going._replace(ended=True)]).complete.all()
    assert aggregate([ended, going]).mean.tolist() == [1, 2, 3, 4, 4, 5, 6, 7, 8, 9]


def test_of_many_steps_those_that_stay_are_kept() -> None:
    x = np.arange(1000.0)
    for n in (800, 900, 1000):
        found = aggregate([Member(x[:n], x[:n])] * 2, most=300)
        assert found.x.tolist() == x[:n:4].tolist()


def test_the_interval_of_many_members_is_near_that_of_all_resamples() -> None:
    """The fixed resamples against 200,000 others; the tolerance is five deviations of a quantile of them."""
    y = np.random.default_rng(3).standard_normal(ENUMERATED + 4)
    found = aggregate([Member(np.zeros(1), np.array([value])) for value in y])
    means = np.random.default_rng(4).choice(y, (200_000, len(y))).mean(axis=1)
    off = 5 * np.sqrt(0.025 * 0.975 / RESAMPLES)
    for got, share in ((found.low, 0.025), (found.high, 0.975)):
        near = np.quantile(means, [max(0.0, share - off), min(1.0, share + off)])
        assert near[0] <= got[0] <= near[1]


def test_no_member_and_none_with_a_value() -> None:
    assert len(aggregate([]).x) == 0
    assert len(aggregate([Member(np.empty(0), np.empty(0))]).x) == 0
    found = aggregate([Member(np.zeros(1), np.array([np.nan]))], log=True)
    assert found.count.tolist() == [0]
    assert np.isnan(found.mean).all()
