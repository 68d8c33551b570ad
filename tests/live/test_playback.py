"""Runs played back: at every moment what had been journaled by then, at the end the runs as they are."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bncore.store.paths import SweepDir
from bntui.live.playback import Playback, _joined
from bntui.live.snapshot import Snapshot
from bntui.live.sources import Runs
from live.factories import STEPS, Clock, Seconds, events, made_run, write_sweep


def played(sweep: SweepDir, clock: Clock) -> Playback:
    """A playback that has read everything, at its begin."""
    playback = Playback(Runs(sweep), clock=clock)
    while not playback.poll(1.0).complete:
        pass
    return playback


def shown(snapshot: Snapshot) -> list[tuple[str, str, int]]:
    return [(view.name, view.state, view.step) for view in snapshot.runs]


def test_runs_are_queued_then_running_then_as_they_ended(tmp_path: Path) -> None:
    made_run(tmp_path / "a-s0", events(5), state="stopped")
    made_run(tmp_path / "b-s0", events(), begun=2_000_000.0)
    write_sweep(tmp_path, ["a-s0", "b-s0"])
    clock = Clock()
    playback = played(SweepDir(tmp_path), clock)
    assert shown(playback.poll(0.0)) == [("a", "running", 0), ("b", "queued", 0)]
    clock.now = float(len(events(5)) - 1)
    assert shown(playback.poll(0.0)) == [("a", "stopped", 5), ("b", "queued", 0)]
    clock.now += 0.5
    assert shown(playback.poll(0.0)) == [("a", "stopped", 5), ("b", "running", 0)], (
        "not after a million seconds"
    )
    clock.now = playback.length_s
    assert shown(playback.poll(0.0)) == [("a", "stopped", 5), ("b", "finished", STEPS)]
    assert playback.ended


@pytest.mark.parametrize("others", [0, 1])
def test_runs_that_failed_at_their_start_are_shown_as_failed_with_the_reason(
    tmp_path: Path, others: int
) -> None:
    made_run(tmp_path / "a-s0", state="failed", message="no such images")
    made_run(tmp_path / "b-s0", state="failed", message="no such images")
    if others:
        made_run(tmp_path / "c-s0", events())
    write_sweep(tmp_path, ["a-s0", "b-s0", "c-s0"][: 2 + others])
    clock = Clock()
    playback = played(SweepDir(tmp_path), clock)
    for clock.now in (0.0, 1.0, 1000.0):
        failed = playback.poll(0.0).runs[:2]
        assert [(view.state, view.message) for view in failed] == [("failed", "no such images")] * 2


def test_the_time_in_which_no_run_was_at_work_is_passed_over(tmp_path: Path) -> None:
    first, again = events(10), [{**events(20)[0], "step": 10, "resumed": True}, *events(20, first=10)[1:]]
    seconds = Seconds()
    before = seconds.stamp(first)
    later = Seconds(seconds.stamp([{}])[0]["t"] + 7200).stamp(again)
    made_run(tmp_path / "a-s0", [*before, *later])
    write_sweep(tmp_path, ["a-s0"])
    clock = Clock()
    playback = played(SweepDir(tmp_path), clock)
    assert playback.length_s == len(first) - 1 + len(again) - 1
    moments = [playback.poll(0.0).t for clock.now in np.linspace(0, playback.length_s, 500)]
    assert moments == sorted(moments)
    assert moments[0] == before[0]["t"]
    assert moments[-1] == later[-1]["t"]
    idle = (np.array(moments) > before[-1]["t"]) & (np.array(moments) < later[0]["t"])
    assert not idle.any()


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 20)), max_size=8))
def test_spans_are_joined_as_sets_of_moments(drawn: list[tuple[int, int]]) -> None:
    spans = [(float(begin), float(begin + length)) for begin, length in drawn]
    joined = _joined(spans)
    assert joined == sorted(joined)
    assert all(one[1] < other[0] for one, other in pairwise(joined))
    for moment in np.arange(0, 121, 0.5):
        assert any(a <= moment <= b for a, b in joined) == any(a <= moment <= b for a, b in spans)
