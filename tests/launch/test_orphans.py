"""A supervisor is killed and its sweep resumed at once: the workers that are just ending are waited for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pexpect
import pytest
from cli.factories import TINY, bnrun, clean_environment
from resume.factories import DEEP_LINEAR, held_still, make_run, wait_until

from bncore.launch.local import await_orphans, orphans
from bncore.store.owner import process_start, read_owner
from bncore.store.paths import SweepDir

from .test_supervisor import ENDLESS, at_work, detached, person, pid_of, state

SHORT = TINY.replace("steps = 12", "steps = 3000")


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: process_start(pid) is None, "the end of a killed process")


def test_what_is_just_ending_is_waited_for_and_resumed(tmp_path: Path) -> None:
    sweep = detached(tmp_path, TINY.replace("steps = 12", "steps = 1500"), "--jobs", "1")
    first = sweep.runs()[0]
    with at_work(first):
        kill(pid_of(sweep))
        wait_until(lambda: orphans(sweep.runs()) == [first], "the orphan")
        shell = person(tmp_path, "resume", "tiny-001", "--jobs", "1")
        shell.expect("waiting for 1 worker of a dead supervisor to end")
    shell.expect(pexpect.EOF, timeout=100)
    shell.close()
    assert shell.exitstatus == 0
    assert [state(run) for run in sweep.runs()] == ["finished"] * 2


@pytest.mark.parametrize("wait_s", [0.0, 0.1, 0.3])
def test_a_start_up_that_was_cut_short_is_made_again(tmp_path: Path, wait_s: float) -> None:
    """The worker does not hold its run yet, and its own start may outlast that of the command."""
    sweep = detached(tmp_path, SHORT, "--jobs", "2")
    time.sleep(wait_s)
    kill(pid_of(sweep))
    done = bnrun("resume", "tiny-001", "--jobs", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [state(run) for run in sweep.runs()] == ["finished"] * 2
    assert "is held by" not in done.stderr


def test_a_worker_without_its_supervisor_begins_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path / "sweep" / "run-s0", DEEP_LINEAR)
    command = [sys.executable, "-m", "bncore.train.worker", str(run.path), "--supervisor", "1"]
    done = subprocess.run(
        command, env=clean_environment(tmp_path), capture_output=True, check=False, timeout=120
    )
    assert done.returncode == 128 + signal.SIGTERM
    assert state(run) == "queued"
    assert not run.journal_file.exists()
    assert read_owner(run) is None


def test_an_orphan_that_does_not_end_is_not_taken_for_resumed(tmp_path: Path) -> None:
    sweep = detached(tmp_path, ENDLESS, "--jobs", "1")
    first, second = sweep.runs()
    assert orphans([first, second]) == [], "a worker that has its supervisor"
    with at_work(first):
        kill(pid_of(sweep))
        assert await_orphans([first, second], seconds=0.5) == [first]
        assert await_orphans([second], seconds=0.5) == []
    assert await_orphans([first]) == []
    assert state(first) == "stopped"


def test_a_run_that_was_stopped_again_is_not_called_ended(tmp_path: Path) -> None:
    sweep = detached(tmp_path, ENDLESS, "--jobs", "1")
    with at_work(sweep.runs()[0]):
        assert bnrun("stop", "tiny-001", cwd=tmp_path).returncode == 0
    wait_until(lambda: read_owner(sweep) is None, "the supervisor's end")
    first = SweepDir(sweep.path).runs()[0]
    shell = person(tmp_path, "resume", "tiny-001/none-s0")
    wait_until(lambda: state(first) == "running", "a running worker")
    with held_still(pid_of(first)):
        assert bnrun("stop", "tiny-001/none-s0", cwd=tmp_path).returncode == 0
    shell.expect(r"tiny-001/none-s0: stopped at step [\d,]+, not ended")
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 1
