"""The learning rate at every step."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bncore.config.model import Schedule
from bncore.train.optimizer import learning_rate


@given(step=st.integers(0, 999), lr=st.floats(0, 10))
def test_constant_is_constant(step: int, lr: float) -> None:
    assert learning_rate(Schedule(), lr, step, 1000) == lr


def test_step_multiplies_at_and_after_each_milestone() -> None:
    schedule = Schedule(kind="step", milestones=(10, 20), factor=0.5)
    rates = [learning_rate(schedule, 1.0, step, 30) for step in (0, 9, 10, 19, 20, 29)]
    assert rates == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]


def test_cosine_falls_from_lr_to_nearly_zero_through_the_middle() -> None:
    schedule = Schedule(kind="cosine")
    assert learning_rate(schedule, 0.3, 0, 100) == 0.3
    assert learning_rate(schedule, 0.3, 50, 100) == pytest.approx(0.15)
    assert learning_rate(schedule, 0.3, 99, 100) == pytest.approx(0.15 * (1 + math.cos(0.99 * math.pi)))


def test_warmup_rises_linearly_to_the_scheduled_rate() -> None:
    schedule = Schedule(warmup=4)
    assert [learning_rate(schedule, 1.0, step, 100) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


@given(steps=st.integers(1, 500), warmup=st.integers(0, 50))
def test_no_schedule_exceeds_the_base_rate_or_goes_below_zero(steps: int, warmup: int) -> None:
    schedule = Schedule(kind="cosine", warmup=warmup)
    rates = [learning_rate(schedule, 0.1, step, steps) for step in range(steps)]
    assert all(0 <= rate <= 0.1 for rate in rates)
