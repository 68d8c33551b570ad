"""The targets of a request: the selected run, marked runs, the whole sweep; queued runs and ended ones."""

from __future__ import annotations

import subprocess
from pathlib import Path

import orjson
import pytest
from live.factories import forked_run
from textual.pilot import Pilot

from bncore.store.errors import StoreError
from bncore.store.owner import acquire
from bncore.store.paths import SweepDir
from bntui.app import Explorer
from bntui.live.sources import Runs
from bntui.steering.send import start_preset, stop_all
from explorer.factories import text_of, until
from explorer.steered_sweep import STOP, inbox_requests, run_named, select, sentence, steer

pytestmark = pytest.mark.usefixtures("started")


def test_a_request_goes_to_all_marked_runs_and_those_that_cannot_accept_it_are_named(sweep: SweepDir) -> None:
    async def act(pilot: Pilot[None], app: Explorer) -> None:
        for name in ("second", "halted", "over"):
            await select(pilot, app, name)
            await pilot.press("m")
        await select(pilot, app, "first")
        await pilot.press("p", "down")
        await pilot.pause()
        said = sentence(app)
        assert "→ norm l1  to 2 runs: second, halted" in said
        assert "not to over" in said
        assert "first" not in said
        await pilot.press("enter")
        change = {"kind": "set", "changes": {"norm.kind": "l1"}}
        await until(pilot, lambda: inbox_requests(sweep) == {"second": [change], "halted": [change]})

    steer(sweep, act)


def test_a_request_to_the_whole_sweep_goes_to_queued_runs_too(sweep: SweepDir) -> None:
    async def act(pilot: Pilot[None], app: Explorer) -> None:
        assert "whole sweep: off" in text_of(app)
        await pilot.press("w")
        await pilot.pause()
        assert "whole sweep: on" in text_of(app)
        await pilot.press("n")
        await pilot.pause()
        assert "to 4 runs: first, second, halted, waits" in sentence(app)
        assert "not to over, ended" in sentence(app)
        assert not inbox_requests(sweep)
        await pilot.press("enter")
        change = [{"kind": "set", "changes": {"noise.on": True}}]
        await until(
            pilot,
            lambda: inbox_requests(sweep) == dict.fromkeys(("first", "second", "halted", "waits"), change),
        )

    steer(sweep, act)


def test_tab_changes_the_targets_while_the_bar_is_open(sweep: SweepDir) -> None:
    async def act(pilot: Pilot[None], app: Explorer) -> None:
        await pilot.press("space")
        await pilot.pause()
        assert "→ pause  to run first" in sentence(app)
        await pilot.press("tab")
        await pilot.pause()
        assert "→ pause  to 2 runs: first, second" in sentence(app)
        await pilot.press("tab", "enter")
        await until(pilot, lambda: inbox_requests(sweep) == {"first": [{"kind": "pause"}]})

    steer(sweep, act)


@pytest.mark.parametrize("before", [False, True])
def test_tab_is_forgotten_when_the_bar_is_closed_and_when_it_has_sent(sweep: SweepDir, before: bool) -> None:
    one, all_of_them = "→ noise on  to run first  at", "→ noise on  to 4 runs: first, second, halted, waits"
    usual, other = (all_of_them, one) if before else (one, all_of_them)

    async def act(pilot: Pilot[None], app: Explorer) -> None:
        if before:
            await pilot.press("w")
        for end in ("escape", "enter"):
            await pilot.press("n")
            await pilot.pause()
            assert usual in sentence(app)
            await pilot.press("tab")
            await pilot.pause()
            assert other in sentence(app)
            await pilot.press(end)
            await pilot.pause()
            assert app.context.selection.whole_sweep is before
        await until(pilot, lambda: len(inbox_requests(sweep)) == (1 if before else 4))
        await pilot.press("n")
        await pilot.pause()
        assert usual in sentence(app)

    steer(sweep, act)


def test_stopping_the_whole_sweep_goes_to_its_supervisor_and_to_no_run_twice(sweep: SweepDir) -> None:
    fork = forked_run(sweep.path / "first-s0-fork-1", run_named(sweep, "first"), 12, state="running")
    owner = acquire(fork)

    async def act(pilot: Pilot[None], app: Explorer) -> None:
        await until(pilot, lambda: "first fork 1" in text_of(app))
        await pilot.press("w", "x", "enter")
        await until(pilot, lambda: inbox_requests(sweep) == {"sweep": STOP, "first-s0-fork-1": STOP})

    try:
        steer(sweep, act)
    finally:
        owner.release()


def test_a_queued_run_is_cancelled_by_its_supervisor(sweep: SweepDir) -> None:
    async def act(pilot: Pilot[None], app: Explorer) -> None:
        await select(pilot, app, "waits")
        await pilot.press("x", "enter")
        await until(pilot, lambda: inbox_requests(sweep) == {"sweep": [{"kind": "drop", "run": "waits-s0"}]})

    steer(sweep, act)


def test_a_task_that_waits_in_slurms_queue_is_cancelled(
    sweep: SweepDir, started: list[tuple[str, ...]]
) -> None:
    sweep.owner_file.unlink()  # Slurm's sweeps have no supervisor
    sweep.status_file.unlink()
    job = {"id": "7", "jobs": 1, "t": 0.0, "tasks": {"0": "first-s0", "1": "waits-s0"}}
    (sweep.path / "slurm.json").write_bytes(orjson.dumps({"options": {}, "jobs": [job]}))

    async def act(pilot: Pilot[None], app: Explorer) -> None:
        await select(pilot, app, "waits")
        await pilot.press("x", "enter")
        await until(pilot, lambda: started == [("stop", str(run_named(sweep, "waits").path))])
        assert inbox_requests(sweep) == {}

    steer(sweep, act)


def test_a_run_that_has_ended_accepts_no_request(sweep: SweepDir, started: list[tuple[str, ...]]) -> None:
    async def act(pilot: Pilot[None], app: Explorer) -> None:
        await select(pilot, app, "over")
        for key in ("n", "p", "l", "space", "full_stop", "x", "C", "E", "N"):
            await pilot.press(key)
            await pilot.pause()
            assert "no run can accept this" in sentence(app) or key == "N", key
            await pilot.press("enter", "escape")
        assert not inbox_requests(sweep)
        assert not started

    steer(sweep, act)


@pytest.mark.parametrize("shown", [["waits"], ["first", "waits"], ["first", "second", "halted", "waits"]])
def test_stopping_all_that_is_shown_stops_nothing_else_of_its_sweep(
    sweep: SweepDir, shown: list[str]
) -> None:
    snapshot = Runs(*(run_named(sweep, name) for name in shown)).poll(1.0)
    assert stop_all(snapshot) == []
    expected = {name: STOP for name in shown if name != "waits"}
    assert inbox_requests(sweep) == expected | {"sweep": [{"kind": "drop", "run": "waits-s0"}]}


def test_space_does_to_the_targets_what_it_says(sweep: SweepDir) -> None:
    async def act(pilot: Pilot[None], app: Explorer) -> None:
        await select(pilot, app, "halted")
        await pilot.press("m")
        await select(pilot, app, "over")
        await pilot.pause()
        assert "Space resume" in text_of(app)
        await pilot.press("space")
        await pilot.pause()
        assert "→ resume  to run halted" in sentence(app)

    steer(sweep, act)


@pytest.mark.parametrize("stdout", ["", "nothing", "{}", "[]", '{"runs": []}'])
def test_a_preset_that_only_prints_something_starts_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stdout: str
) -> None:
    done = subprocess.CompletedProcess([], 0, stdout, "")
    monkeypatch.setattr("bntui.steering.send.bnrun", lambda *_: done)
    with pytest.raises(StoreError, match="nothing was started"):
        start_preset("quick", ["--dry-run"], tmp_path)
