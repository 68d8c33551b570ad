"""Rate and time to go, as the heartbeat tells them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from store.factories import empty_run

from bncore.store.owner import acquire
from bncore.store.paths import RunDir
from bncore.store.status import Status, read_status
from bncore.train import heartbeat as module
from bncore.train.heartbeat import Heartbeat


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return empty_run(tmp_path / "run-s0")


def beaten(run: RunDir, heartbeat: Heartbeat, beats: int, work: Callable[[], object]) -> list[Status]:
    """What an observer sees of so many heartbeats."""
    heartbeat.start()
    seen: dict[int, Status] = {}
    while len(seen) < beats:
        work()
        status = read_status(run)
        assert status is not None
        seen.setdefault(status.counter, status)
        time.sleep(0.001)
    heartbeat.abandon()
    return list(seen.values())


@pytest.mark.parametrize("at", [0, 300, 900])
def test_a_resumed_run_s_rate_is_of_its_own_steps(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_S", 0.02)
    heartbeat = Heartbeat(run, acquire(run), steps=1000, step=500)
    resumed = False

    def resume() -> None:
        nonlocal resumed
        if not resumed:
            heartbeat.restart_at(at)
            resumed = True

    reported = beaten(run, heartbeat, 5, resume)
    assert {(status.rate, status.eta_s) for status in reported} == {(None, None)}, "no step was made"


def test_what_is_beyond_the_last_step_takes_no_negative_time(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_S", 0.02)
    heartbeat = Heartbeat(run, acquire(run), steps=100, step=99)

    def step() -> None:
        heartbeat.step += 1

    def step_back() -> None:
        heartbeat.step -= 10

    reported = beaten(run, heartbeat, 5, step)
    assert reported[-1].step > 100
    assert {status.eta_s for status in reported[1:]} == {0.0}
    reported = beaten(run, Heartbeat(run, acquire(run, force=True), steps=100, step=9), 3, lambda: None)
    back = Heartbeat(run, acquire(run, force=True), steps=10**9, step=10**6)
    assert all((s.rate or 0) >= 0 <= (s.eta_s or 0) for s in beaten(run, back, 5, step_back))
