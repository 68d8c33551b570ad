"""Runs played back: at every moment what had been journaled by then, at the end the runs as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from bncore.store.paths import SweepDir
from bntui.live.playback import Playback
from bntui.live.snapshot import Snapshot
from bntui.live.sources import Runs
from live.factories import STEPS, Clock, events, made_run, write_sweep


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
    clock.now = 500_000.0
    assert shown(playback.poll(0.0)) == [("a", "stopped", 5), ("b", "queued", 0)]
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
