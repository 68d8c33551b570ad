"""Where runs stand in their training, against the dumbest possible code."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bncore.report.progress import (
    FITTED,
    LEFT,
    LEVELS,
    WINDOW,
    MeasuredAt,
    Pair,
    TrainingCurve,
    training_curve,
)
from bncore.store.columns import Columns

LOSSES = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=60)


def columns(values: list[float], field: str = "loss", every: int = 1) -> Columns:
    found = Columns()
    rows = [{"type": "step", "step": every * i, field: value} for i, value in enumerate(values)]
    found.add(rows, in_front=False)
    return found


def curve(values: list[float]) -> TrainingCurve:
    return TrainingCurve(np.arange(len(values), dtype=float), np.minimum.accumulate(values), values[0])


def measured(values: list[float]) -> MeasuredAt:
    return MeasuredAt(np.arange(len(values), dtype=float), np.array(values))


@given(LOSSES, st.integers(1, 2000))
def test_progress_is_the_lowest_mean_over_the_window_so_far(values: list[float], total: int) -> None:
    found = training_curve(columns(values), total)
    assert found is not None
    bounded = [min(value, values[0]) for value in values]
    lowest = math.inf
    for step, seen in enumerate(found.values):
        near = [v for i, v in enumerate(bounded) if abs(i - step) <= WINDOW * total]
        lowest = min(lowest, sum(near) / len(near))
        assert seen == pytest.approx(lowest, rel=1e-9)
    assert (np.diff(found.values) <= 0).all()


def test_a_spike_of_1e30_leaves_the_digits_of_what_follows() -> None:
    found = training_curve(columns([2.0, 1e30, 1.0, 0.5, 0.25]), 5)
    assert found is not None
    assert found.values.tolist() == [2.0, 2.0, 1.0, 0.5, 0.25]


def test_losses_that_are_not_finite_are_no_progress() -> None:
    found = training_curve(columns([2.0, math.nan, 1.0, math.inf]), 4)
    assert found is not None
    assert found.steps.tolist() == [0.0, 2.0]


def test_where_no_loss_is_known_the_error_shows_it() -> None:
    found = training_curve(columns([0.1, 0.4, 0.9], "accuracy"), 3)
    assert found is not None
    assert (found.of, found.first) == ("error", 0.9)
    assert found.values == pytest.approx([0.9, 0.6, 0.1])
    assert training_curve(Columns(), 3) is None
    assert training_curve(columns([0.0, 1.0]), 2) is None


@given(LOSSES, LOSSES)
def test_training_lies_between_the_start_and_the_fitted_data(ours: list[float], theirs: list[float]) -> None:
    total = max(len(ours), len(theirs))
    pair = Pair(curve(ours), curve(theirs), total)
    start = min(ours[0], theirs[0])

    def first_below(values: list[float], bound: float) -> float:
        return next((float(i) for i, v in enumerate(values) if v < bound), math.inf)

    first = max(first_below(values, LEFT * start) for values in (ours, theirs))
    last = min(float(total), *(first_below(values, FITTED * start) for values in (ours, theirs)))
    assert pair.training == ((first, last) if first < last else None)


def test_equal_steps_are_those_at_which_both_train() -> None:
    ours, theirs = curve([2.0, 1.0, 0.9, 0.8, 0.7, 0.6]), curve([2.0, 2.0, 1.0, 0.9, 0.8, 0.7])
    pair = Pair(ours, theirs, 6)
    a, b = measured([100.0, 100.0, 1.0, 2.0, 3.0, 4.0]), measured([0.0, 0.0, 2.0, 2.0, 2.0, 2.0])
    assert pair.training == (2.0, 6.0)
    assert pair.at_equal_steps(a, b) == pytest.approx(2.5 - 2.0)
    assert pair.at_equal_steps(a, b, until=4 / 6) == pytest.approx(2.0 - 2.0)
    assert pair.at_equal_steps(a, b, until=0.5) is None  # two measurements are too few
    assert Pair(ours, curve([2.0] * 6), 6).at_equal_steps(a, b) is None  # never left its start


@given(st.floats(1.0, 20.0), st.floats(-3.0, 3.0))
def test_what_depends_on_the_loss_alone_is_equal_at_equal_loss_however_fast_one_trains(
    speed: float, shift: float
) -> None:
    """A number that is a function of the training loss: equal steps would call the faster network smaller."""
    slow = [10 * math.exp(-step / 300) for step in range(600)]
    fast = [10 * math.exp(-speed * step / 300) for step in range(600)]
    log = [math.log10(loss) for loss in slow]
    other = [math.log10(loss) + shift for loss in fast]
    pair = Pair(curve(fast), curve(slow), 600)
    found = pair.at_equal_progress(measured(other), measured(log))
    width = math.log10(LEFT * slow[0] / slow[-1]) / LEVELS
    assert found is None or abs(found - shift) <= width  # they may lie anywhere within a level
    assert found is not None or speed > 5
    if speed > 2:
        steps = pair.at_equal_steps(measured(other), measured(log))
        assert steps is None or steps - shift < -width


def test_at_equal_loss_every_level_counts_once() -> None:
    """A network that stays at one loss for long does not count for more."""
    ours = curve([8.0, 4.0, *[2.0] * 50, 1.0, 0.5])
    theirs = curve([8.0, *[4.0] * 50, 2.0, 1.0, 0.5])
    a = MeasuredAt(ours.steps, np.log2(ours.values) ** 2)
    b = MeasuredAt(theirs.steps, np.log2(theirs.values) ** 2 + 1)
    assert Pair(ours, theirs, len(ours.steps)).at_equal_progress(a, b) == pytest.approx(-1.0)


def test_networks_that_were_never_at_the_same_loss_are_not_compared_there() -> None:
    ours, theirs = curve([8.0, 1.0, 0.5, 0.4]), curve([8.0, 7.0, 6.0, 5.0])
    zeros = measured([0.0] * 4)
    assert Pair(ours, theirs, 4).at_equal_progress(zeros, zeros) is None


def test_of_several_values_a_measurement_the_mean_of_those_that_are_known_counts() -> None:
    found = MeasuredAt.of(np.arange(3.0), np.array([[1.0, 3.0], [math.nan, 5.0], [math.nan, math.inf]]))
    assert found.steps.tolist() == [0.0, 1.0]
    assert found.values.tolist() == [2.0, 5.0]
    assert len(MeasuredAt.of(np.empty(0), np.empty((0, 4))).steps) == 0
