"""A heartbeat that moves is life; one that does not, for two minutes of the observer's own clock, is death."""

from __future__ import annotations

from pathlib import Path

from bncore.store.paths import RunDir
from bncore.store.status import Status, find_stalled, write_status


class Clock:
    """A clock that moves by sleeping; at given times something happens."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.beating: list[RunDir] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for run in self.beating:
            write_status(run, Status("running", counter=int(self.now * 10)))


def run_at(folder: Path) -> RunDir:
    """A run with a heartbeat."""
    folder.mkdir()
    write_status(RunDir(folder), Status("running", counter=1))
    return RunDir(folder)


def test_the_silent_one_is_found_and_the_beating_one_is_not(tmp_path: Path) -> None:
    clock, alive, dead = Clock(), run_at(tmp_path / "alive"), run_at(tmp_path / "dead")
    clock.beating = [alive]
    assert find_stalled([alive, dead], clock=clock, sleep=clock.sleep) == [dead]
    assert clock.now - 1000 >= 120


def test_where_all_beat_the_answer_comes_at_once(tmp_path: Path) -> None:
    clock, alive = Clock(), run_at(tmp_path / "alive")
    clock.beating = [alive]
    assert find_stalled([alive], clock=clock, sleep=clock.sleep) == []
    assert clock.now - 1000 < 5


def test_the_writers_own_clock_has_no_part(tmp_path: Path) -> None:
    """A counter that moves counts, even while the writer's clock steps backwards."""
    clock, run = Clock(), run_at(tmp_path / "run")
    write_status(run, Status("running", counter=5, t=0.0))
    clock.beating = [run]
    assert find_stalled([run], clock=clock, sleep=clock.sleep) == []
