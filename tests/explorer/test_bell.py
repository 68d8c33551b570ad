"""A bell when a run ends: only of runs that were watched alive, once each, and only where one is wanted."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from live.factories import events, made_run, write_sweep
from textual.pilot import Pilot

from bncore.follow.run_view import RunView
from bncore.store.owner import acquire
from bncore.store.paths import SweepDir
from bncore.store.status import STATES, read_status, write_status
from bntui.bell import ENDED, LIVING, Endings, signal
from bntui.live.sources import read_whole
from explorer.factories import drive, explorer, until


@pytest.fixture
def view(tmp_path: Path) -> RunView:
    run = made_run(tmp_path / "one-001" / "a-s0", events(2))
    return read_whole(run).runs[0]


def test_a_run_is_told_of_when_it_ends_each_time_and_only_then(view: RunView) -> None:
    chance = random.Random(1)
    states = [chance.choice([*STATES, "dead", "unknown", "gone"]) for _ in range(2000)]
    endings, alive = Endings(), False
    for state in states:
        told = endings.of([replace(view, state=state)])
        assert bool(told) is (alive and state in ENDED)
        alive = state in LIVING or (alive and state not in ENDED)


def test_what_is_sent(view: RunView) -> None:
    nasty = replace(view, name="a\x1b]0;x\a", state="failed")
    assert signal("off", [view], {}) == signal("bell", [], {}) == signal("osc9", [], {}) == ""
    assert signal("bell", [view, nasty], {}) == "\a"
    assert signal("osc9", [view, nasty], {}) == "\x1b]9;bntui: a finished, a\\x1b]0;x\\x07 failed\a"
    inside = signal("osc9", [view], {"TMUX": "/tmp/tmux-0/default,1,0"})
    assert inside == "\x1bPtmux;\x1b\x1b]9;bntui: a finished\a\x1b\\"
    assert signal("osc9", [view] * 5, {}).endswith("a finished and 2 more\a")


@pytest.mark.parametrize("where", ["home", "sweep"])
def test_a_run_that_ends_on_the_screen_rings_once(
    tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TMUX", raising=False)
    sweep = SweepDir(tmp_path / "one-001")
    made_run(sweep.path / "before-s0", events(2))
    run = made_run(sweep.path / "live-s0", events(2), state="paused")
    acquire(run)
    write_sweep(sweep.path, ["before-s0", "live-s0"])
    app = explorer(tmp_path, sweep if where == "sweep" else None, bell="osc9")

    async def steps(pilot: Pilot[None]) -> None:
        assert app._driver is not None
        sent: list[str] = []
        monkeypatch.setattr(app._driver, "write", sent.append)
        status = read_status(run)
        assert status is not None
        write_status(run, replace(status, state="finished"))
        await until(pilot, lambda: any("]9;" in text for text in sent))
        app.feed.wake()
        await pilot.pause(0.5)
        assert [text for text in sent if "]9;" in text] == ["\x1b]9;bntui: live finished\a"]

    drive(app, (120, 40), steps)
