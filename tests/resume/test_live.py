"""Signals and requests to runs that are under way, and two workers that want one run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from bncore.store import commands, requests
from bncore.store.owner import read_owner
from bncore.store.paths import RunDir, list_checkpoints
from bncore.store.status import read_status
from resume.conftest import Undisturbed
from resume.factories import (
    DEEP_LINEAR,
    SLOW,
    digest,
    end,
    events,
    make_run,
    start,
    steps_of,
    steps_so_far,
    story,
    train,
    wait_for_state,
    wait_until,
)


def send(process: ForkServerProcess, number: int) -> None:
    assert process.pid is not None
    os.kill(process.pid, number)


def started(run: RunDir) -> ForkServerProcess:
    """A worker that is in the middle of its run."""
    process = start(run)
    wait_until(lambda: run.journal_file.exists() and run.journal_file.stat().st_size > 10_000, "some steps")
    return process


def _stopped(process: ForkServerProcess) -> bool:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def training(run: RunDir) -> list[dict[str, object]]:
    """What the training itself made: the story without the requests."""
    return [event for event in story(run) if event["type"] in ("step", "eval", "finished")]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_makes_it_checkpoint_and_end(
    tmp_path: Path, undisturbed: Undisturbed, number: int, code: int
) -> None:
    run = make_run(tmp_path / "run-s0", SLOW)
    process = started(run)
    send(process, number)
    assert end(process) == code
    last = steps_of(run, "step")[-1]
    assert last + 1 < SLOW.steps
    assert list_checkpoints(run.checkpoints)[-1].step == last + 1
    status = read_status(run)
    assert status is not None
    assert (status.state, status.step) == ("stopped", last + 1)
    assert read_owner(run) is None
    assert train(run) == 0
    assert story(run) == story(undisturbed(SLOW))


def test_sighup_is_ignored(tmp_path: Path, undisturbed: Undisturbed) -> None:
    run = make_run(tmp_path / "run-s0", SLOW)
    process = started(run)
    send(process, signal.SIGHUP)
    assert end(process) == 0
    assert story(run) == story(undisturbed(SLOW))


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_second_sigint_stops_at_once(first: int) -> None:
    program = (
        "import signal, time; from bncore.train.control import Signals; Signals().install(); "
        f"signal.raise_signal({int(first)}); print('still here', flush=True); "
        "signal.raise_signal(signal.SIGINT); print('never')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGINT, "still here\n")


def test_pause_step_resume_and_stop(tmp_path: Path, undisturbed: Undisturbed) -> None:
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)
    requests.send_request(run, commands.Pause(at_step=10))
    process = start(run)
    wait_for_state(run, "paused", 10)
    requests.send_request(run, commands.Note(text="while it waits"))
    wait_until(lambda: steps_so_far(run, "note") == [10], "the note")
    requests.send_request(run, commands.Step(count=3))
    wait_for_state(run, "paused", 13)
    requests.send_request(run, commands.Step())
    wait_for_state(run, "paused", 14)
    requests.send_request(run, commands.Checkpoint())
    requests.send_request(run, commands.Stop(at_step=30))
    requests.send_request(run, commands.Resume())
    assert end(process) == 0
    status = read_status(run)
    assert status is not None
    assert (status.state, status.step) == ("stopped", 30)
    assert [c.step for c in list_checkpoints(run.checkpoints) if c.why == "kept"] == [14]
    requested = [
        (e["step"], e["command"]["kind"], e["outcome"]) for e in events(run) if e["type"] == "request"
    ]
    assert requested == [
        (10, "pause", "applied"),
        (10, "note", "applied"),
        (10, "step", "applied"),
        (13, "step", "applied"),
        (14, "checkpoint", "applied"),
        (14, "resume", "applied"),
        (30, "stop", "applied"),
    ]
    assert list(run.inbox.iterdir()) == []
    assert train(run) == 0  # neither paused nor stopped again by what the journal holds
    assert training(run) == training(undisturbed(DEEP_LINEAR))


def test_a_run_killed_while_it_is_paused_goes_on(tmp_path: Path, undisturbed: Undisturbed) -> None:
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)
    requests.send_request(run, commands.Pause(at_step=25))
    process = start(run)
    wait_for_state(run, "paused", 25)
    send(process, signal.SIGKILL)
    assert end(process) == -signal.SIGKILL
    requests.send_request(run, commands.Note(text="requested of a dead run"))
    assert train(run) == 0
    assert steps_of(run, "note") == [25]
    assert training(run) == training(undisturbed(DEEP_LINEAR))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_paused_run_hears_signals(tmp_path: Path, number: int) -> None:
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)
    requests.send_request(run, commands.Pause(at_step=12))
    process = start(run)
    wait_for_state(run, "paused", 12)
    send(process, number)
    assert end(process) == 128 + number
    assert list_checkpoints(run.checkpoints)[-1].step == 12


def test_what_arrives_too_late_is_rejected(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)
    requests.send_request(run, commands.Note(text="too late", at_step=DEEP_LINEAR.steps))
    assert train(run) == 0
    (rejected,) = (e for e in events(run) if e["type"] == "request")
    assert (rejected["outcome"], rejected["reason"]) == ("rejected", "the run has finished")
    assert steps_of(run, "note") == []
    assert list(run.inbox.iterdir()) == []


def test_a_slow_request_does_not_make_the_next_one_come_twice(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)
    for number in range(40):  # checkpoints take long enough for the inbox to be looked at meanwhile
        requests.send_request(run, commands.Checkpoint(at_step=20))
        requests.send_request(run, commands.Note(text=str(number), at_step=20))
    assert train(run) == 0
    assert [e["text"] for e in events(run) if e["type"] == "note"] == [str(n) for n in range(40)]


def test_junk_in_the_inbox_is_set_aside_and_harms_nothing(tmp_path: Path, undisturbed: Undisturbed) -> None:
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)
    (run.inbox / "000000001-a.json").write_bytes(b"{")
    (run.inbox / "000000002-b.json").write_bytes(b'{"id": "b", "command": {"kind": "format the disk"}}')
    (run.inbox / "000000003-c.json").symlink_to("/etc/passwd")
    requests.send_request(run, commands.Note(text="sound", at_step=5))
    assert train(run) == 0
    assert steps_of(run, "note") == [5]
    assert len(list((run.inbox / "rejected").glob("*.json"))) == 3
    assert training(run) == training(undisturbed(DEEP_LINEAR))


def test_a_second_worker_is_refused_and_told_who_holds_the_run(
    tmp_path: Path, undisturbed: Undisturbed
) -> None:
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)
    requests.send_request(run, commands.Pause(at_step=10))
    first = start(run)
    wait_for_state(run, "paused", 10)
    written = run.journal_file.read_bytes()
    assert train(run, log=tmp_path / "second.txt") == 2
    assert f"run-s0 is held by process {first.pid} on " in (tmp_path / "second.txt").read_text()
    assert run.journal_file.read_bytes() == written
    requests.send_request(run, commands.Resume())
    assert end(first) == 0
    assert training(run) == training(undisturbed(DEEP_LINEAR))


@pytest.mark.parametrize("when", ["running", "paused", "about to write"])
def test_a_frozen_worker_that_lost_the_run_writes_nothing_more(
    tmp_path: Path, undisturbed: Undisturbed, when: str
) -> None:
    run = make_run(tmp_path / "run-s0", SLOW)
    if when == "about to write":
        frozen = start(run, freeze_at=60)
        wait_until(lambda: _stopped(frozen), "stopped")
    elif when == "paused":
        requests.send_request(run, commands.Pause(at_step=40))
        frozen = start(run)
        wait_for_state(run, "paused", 40)
    else:
        frozen = started(run)
    send(frozen, signal.SIGSTOP)
    assert train(run, force=True) == 0
    kept = {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file() and p != run.log_file}
    send(frozen, signal.SIGCONT)
    assert end(frozen) == 1
    assert "another process has taken this run over" in run.log_file.read_text()
    assert {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file() and p != run.log_file} == kept
    assert training(run) == training(undisturbed(SLOW))
    assert digest(run) == digest(undisturbed(SLOW))
