"""Sweeps that are taken up again: what waits for its turn is queued, and is heard, stopped and kept as such."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from cli.factories import bnrun, tiny_experiment
from resume.factories import held_still, wait_until

from bncore.store import commands, requests
from bncore.store.owner import read_owner
from bncore.store.paths import RunDir, SweepDir
from bncore.store.status import read_status

from .test_supervisor import ENDLESS, THREE, at_work, detached, pid_of, state


def stopped(tmp_path: Path, text: str = ENDLESS) -> SweepDir:
    """A sweep that was stopped while its first run was at work."""
    sweep = detached(tmp_path, text, "--jobs", "1")
    with at_work(sweep.runs()[0]):
        assert bnrun("stop", "tiny-001", cwd=tmp_path).returncode == 0
    wait_until(lambda: read_owner(sweep) is None, "the supervisor's end")
    return sweep


def taken_up(tmp_path: Path, text: str = ENDLESS) -> SweepDir:
    """The same, resumed in the background, one run at a time."""
    sweep = stopped(tmp_path, text)
    done = bnrun("resume", "tiny-001", "--jobs", "1", "--detach", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return sweep


def test_stopping_it_at_once_leaves_nothing_running(tmp_path: Path) -> None:
    sweep = taken_up(tmp_path)
    assert bnrun("stop", "tiny-001", cwd=tmp_path).returncode == 0
    wait_until(lambda: read_owner(sweep) is None, "the supervisor's end")
    assert [state(run) for run in sweep.runs()] == ["stopped", "stopped"]
    assert not sweep.runs()[1].journal_file.exists()


@pytest.mark.slow
def test_stopping_it_later_starts_nothing_more(tmp_path: Path) -> None:
    sweep = taken_up(tmp_path)
    first, second = sweep.runs()
    with at_work(first):
        assert state(second) == "queued"
        assert bnrun("stop", "tiny-001", cwd=tmp_path).returncode == 0
    wait_until(lambda: read_owner(sweep) is None, "the supervisor's end")
    assert [state(run) for run in sweep.runs()] == ["stopped", "stopped"]
    assert not second.journal_file.exists()


@pytest.mark.slow
def test_a_change_reaches_what_waits(tmp_path: Path) -> None:
    sweep = taken_up(tmp_path)
    first, second = sweep.runs()
    with at_work(first):
        assert bnrun("set", "tiny-001", "lr=1e-4", cwd=tmp_path).returncode == 0
        again = bnrun("resume", "tiny-001/batch-s0", cwd=tmp_path)
        assert "queued; it will start automatically" in again.stderr
        refused = bnrun("rm", "-y", "tiny-001/batch-s0", cwd=tmp_path)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "tiny-001/batch-s0: alive; `bnrun stop` it first" in refused.stderr
        assert bnrun("rm", "-y", "tiny-001", cwd=tmp_path).returncode == 2
    assert [one.command.changes for one in requests.waiting(second)] == [{"optim.lr": 1e-4}]
    assert bnrun("stop", "tiny-001", cwd=tmp_path).returncode == 0
    wait_until(lambda: read_owner(sweep) is None, "the supervisor's end")
    assert bnrun("rm", "-y", "tiny-001", cwd=tmp_path).returncode == 0


@pytest.mark.slow
def test_watching_it_lasts_to_the_end(tmp_path: Path) -> None:
    sweep = taken_up(tmp_path, THREE)
    assert bnrun("watch", "tiny-001", "--plain", cwd=tmp_path).returncode == 0
    assert [state(run) for run in sweep.runs()] == ["finished"] * 3


def test_a_run_that_begins_while_it_is_being_dropped_stops(tmp_path: Path) -> None:
    """It was queued when somebody looked."""
    sweep = detached(tmp_path, ENDLESS, "--jobs", "2")
    first, second = sweep.runs()
    with at_work(first):
        requests.send_request(sweep, commands.CancelQueued(run=first.path.name))
        wait_until(lambda: not requests.waiting(sweep), "the supervisor's answer")
    wait_until(lambda: state(first) == "stopped", "the stop")
    assert state(second) in ("queued", "running")
    assert bnrun("stop", "tiny-001", cwd=tmp_path).returncode == 0
    wait_until(lambda: read_owner(sweep) is None, "the supervisor's end")


def test_a_killed_worker_is_told_as_one(tmp_path: Path) -> None:
    sweep = stopped(tmp_path)
    run = RunDir(sweep.runs()[0].path)
    before = read_status(run)
    assert before is not None

    def kill() -> None:
        wait_until(lambda: state(run) == "running", "a running worker")
        os.kill(pid_of(run), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    done = bnrun("resume", "tiny-001/none-s0", cwd=tmp_path)
    killer.join()
    assert done.returncode != 0
    assert "tiny-001/none-s0: killed by SIGKILL" in done.stderr


@pytest.mark.parametrize("command", [["ls", "--json"], ["show", "tiny-001", "--json"]])
def test_json_of_a_diverged_run_is_json(tmp_path: Path, command: list[str]) -> None:
    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} is no JSON")

    tiny_experiment(tmp_path)
    done = bnrun("run", "tiny.toml", "--headless", "--json", "--set", "lr=1e30", cwd=tmp_path)
    for text in (done.stdout, bnrun(*command, cwd=tmp_path).stdout):
        found = json.loads(text, parse_constant=refuse)
        rows = found["runs"] if isinstance(found, dict) else found
        assert {row["loss"] for row in rows} <= {"nan", "inf"}
    assert bnrun("show", "tiny-001", cwd=tmp_path).returncode == 0


def test_no_name_is_no_run(tmp_path: Path) -> None:
    tiny_experiment(tmp_path)
    assert bnrun("run", "tiny.toml", "--headless", cwd=tmp_path).returncode == 0
    inside = tmp_path / "runs" / "tiny-001"
    for name in ("", " "):
        done = bnrun("rm", "-y", name, cwd=inside)
        assert (done.returncode, "no such run or sweep" in done.stderr) == (3, True)
    assert len(SweepDir(inside).runs()) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["step", "x", "--count", "99999999999999999999"], "--count"),
        (["pause", "x", "--at-step", "99999999999999999999"], "--at-step"),
        (["note", "x", b"\xff"], "expected text in UTF-8"),
    ],
)
def test_what_no_request_can_hold_is_refused(tmp_path: Path, arguments: list[Any], said: str) -> None:
    done = bnrun(*arguments, cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert said in done.stderr


def test_an_evaluation_of_long_ago_is_found(tmp_path: Path) -> None:
    text = ENDLESS.replace("steps = 1_000_000", "steps = 1_000_001").replace(
        "eval.every = 5", "eval.every = 100_000"
    )
    sweep = detached(tmp_path, text, "--jobs", "1")
    run = sweep.runs()[0]
    wait_until(
        lambda: run.journal_file.exists() and run.journal_file.stat().st_size > 600_000, "a long journal"
    )
    with held_still(pid_of(run)):
        row = json.loads(bnrun("ls", "--json", cwd=tmp_path).stdout)[0]
        assert row["test_loss"] is not None
    assert bnrun("stop", "tiny-001", cwd=tmp_path).returncode == 0
    wait_until(lambda: read_owner(sweep) is None, "the supervisor's end")


@pytest.mark.slow
def test_a_replay_that_was_cut_short_is_compared_once_it_is_whole(tmp_path: Path) -> None:
    tiny_experiment(tmp_path, ENDLESS.replace("1_000_000", "3000"))
    assert bnrun("run", "tiny.toml", "--headless", "--jobs", "2", cwd=tmp_path).returncode == 0
    again = RunDir(tmp_path / "runs" / "again" / "none-s0")

    def kill() -> None:
        wait_until(lambda: again.journal_file.exists() and state(again) == "running", "a running replay")
        os.kill(pid_of(again), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    done = bnrun("replay", "tiny-001/none-s0", "--out", "runs/again", cwd=tmp_path)
    killer.join()
    assert done.returncode == 1
    assert (
        "its replay is dead: `bnrun resume again/none-s0`, then `bnrun verify again/none-s0`" in done.stdout
    )
    assert bnrun("verify", "again", cwd=tmp_path).returncode == 1
    assert bnrun("resume", "again", cwd=tmp_path).returncode == 0
    whole = bnrun("verify", "again", cwd=tmp_path)
    assert (whole.returncode, "tiny-001/none-s0: same digest" in whole.stdout) == (0, True)
    journal = again.journal_file.read_bytes()
    again.journal_file.write_bytes(journal.replace(b'"step":7,"loss":', b'"step":7,"loss":1'))
    changed = bnrun("verify", "again", cwd=tmp_path)
    assert (changed.returncode, "tiny-001/none-s0: differs: event" in changed.stdout) == (1, True)


@pytest.mark.slow
def test_what_was_never_begun_is_left_out_of_a_replay(tmp_path: Path) -> None:
    stopped(tmp_path)
    done = bnrun("replay", "tiny-001", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "tiny-001/batch-s0: never started; skipped" in done.stderr
    assert "tiny-001/none-s0: same events" in done.stdout


def test_an_export_that_would_meet_other_files_writes_none(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    tiny_experiment(tmp_path)
    assert bnrun("run", "tiny.toml", "--headless", cwd=tmp_path).returncode == 0
    (tmp_path / "board").mkdir()
    (tmp_path / "board" / "events.out.tfevents.1").touch()
    done = bnrun(
        "export", "tiny-001/none-s0", "--csv", "--tensorboard", "--out", tmp_path / "board", cwd=tmp_path
    )
    assert (done.returncode, "nothing was written" in done.stderr.replace("\n", " ")) == (2, True)
    assert [path.name for path in (tmp_path / "board").iterdir()] == ["events.out.tfevents.1"]
