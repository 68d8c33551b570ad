"""Leaving: runs continue unless they are requested to stop, and whoever leaves has to choose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from bncore.store.paths import SweepDir
from bncore.store.status import Status, read_status, write_status
from bntui.app import Explorer
from explorer.factories import explorer, text_of, until
from explorer.steered_sweep import STOP, inbox_requests, run_named, steer, sweep_at_work


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[SweepDir]:
    """A sweep at work, with a run in every state that matters to steering."""
    with sweep_at_work(tmp_path) as sweep:
        yield sweep


def leave_with(sweep: SweepDir, *keys: str) -> tuple[str, int | None]:
    """Press keys; what was on the screen before the last, and how the explorer ended (None: it continues)."""
    found: list[str] = []
    ended: list[int | None] = []

    async def act(pilot: Pilot[None], app: Explorer) -> None:
        await pilot.press(*keys[:-1])
        await pilot.pause()
        found.append(text_of(app))
        await pilot.press(keys[-1])
        await pilot.pause()
        ended.append(app.return_code)

    steer(sweep, act)
    return found[0], ended[0]


@pytest.mark.parametrize("keys", [("enter",), ("d",), ("q",)])
def test_leaving_asks_and_to_detach_is_what_enter_does(sweep: SweepDir, keys: tuple[str, ...]) -> None:
    text, code = leave_with(sweep, "q", *keys)
    assert "4 runs not finished: first, second, halted, waits" in text
    assert "detach: they continue" in text
    assert code == 0
    assert not inbox_requests(sweep)


@pytest.mark.parametrize("keys", [("escape",), ("c",), ("n",), ("down", "down", "enter"), ("ctrl+c",)])
def test_leaving_can_be_called_off(sweep: SweepDir, keys: tuple[str, ...]) -> None:
    assert leave_with(sweep, "q", *keys)[1] is None
    assert not inbox_requests(sweep)


@pytest.mark.parametrize("keys", [("s",), ("down", "enter")])
def test_leaving_can_stop_everything_after_a_checkpoint(sweep: SweepDir, keys: tuple[str, ...]) -> None:
    assert leave_with(sweep, "ctrl+c", *keys)[1] == 0
    assert inbox_requests(sweep) == {"sweep": STOP}


def test_a_sweep_without_a_supervisor_can_still_be_left_and_stopped(sweep: SweepDir) -> None:
    status = read_status(sweep)
    assert status is not None
    sweep.owner_file.unlink()
    write_status(sweep, Status("stopped"))
    assert leave_with(sweep, "q", "s")[1] == 0
    assert inbox_requests(sweep) == dict.fromkeys(("first", "second", "halted"), STOP)


def test_an_inbox_that_cannot_be_written_is_told_and_the_explorer_stays(sweep: SweepDir) -> None:
    for inbox in (run_named(sweep, "first").inbox, sweep.inbox):
        inbox.rmdir()
        inbox.write_text("no directory")

    async def act(pilot: Pilot[None], app: Explorer) -> None:
        await pilot.press("n", "enter")
        await until(pilot, lambda: "inbox" in text_of(app).splitlines()[-1])
        await pilot.press("q", "s")
        await pilot.pause()
        assert app.return_code is None, "not everything was requested to stop"

    steer(sweep, act)


def test_a_snapshot_that_comes_when_all_screens_are_left_is_passed_over(sweep: SweepDir) -> None:
    explorer(sweep.path.parent, sweep)._show_soon()
