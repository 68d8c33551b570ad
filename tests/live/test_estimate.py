"""When runs will have ended."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bncore.follow.estimate import time_left
from bncore.follow.run_view import RunView
from bncore.store.status import State, Status
from live.factories import made_run, view_of

STEPS = st.integers(0, 1000)


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> RunView:
    return view_of(made_run(tmp_path_factory.mktemp("sweep") / "a-s0"))


def at(view: RunView, state: State, steps: int, rate: float | None = None) -> RunView:
    """A run with so many steps to go."""
    eta = steps / rate if rate else None
    return replace(view, state=state, status=Status(state, 0, steps, rate, eta))


@given(st.lists(STEPS, min_size=1, max_size=4), st.lists(STEPS, max_size=8))
def test_queued_runs_begin_where_one_ends(view: RunView, going: list[int], queued: list[int]) -> None:
    views = [at(view, "running", steps, 2.0) for steps in going] + [at(view, "queued", n) for n in queued]
    ends = [steps / 2.0 for steps in going]
    for steps in queued:
        first = ends.index(min(ends))
        ends[first] += steps / 2.0
    assert time_left(views) == pytest.approx(max(ends))


def test_what_waits_has_the_mean_pace_of_what_is_at_work(view: RunView) -> None:
    views = [at(view, "running", 10, 1.0), at(view, "running", 40, 4.0), at(view, "queued", 100)]
    assert time_left(views) == pytest.approx(10.0 + 100 * (1 + 1 / 4) / 2)


def test_without_a_run_at_work_nobody_knows(view: RunView) -> None:
    assert time_left([at(view, "queued", 10), at(view, "paused", 10, 1.0)]) is None
    assert time_left([at(view, "running", 10)]) is None
