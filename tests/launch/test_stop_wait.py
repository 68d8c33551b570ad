"""`bnrun stop SWEEP --wait` where several may stop the same run: it is answered by the run's end, too."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from cli.factories import bnrun
from resume.factories import held_still, wait_until

from bncore.launch import local
from bncore.launch.supervisor import Supervisor
from bncore.store import requests
from bncore.store.commands import StopSweep
from bncore.store.owner import read_owner
from bncore.store.paths import RunDir, SweepDir
from bncore.store.status import Status, write_status

from .test_supervisor import ENDLESS, THREE, detached, pid_of, state


def test_a_run_that_its_supervisor_stops_has_answered_and_so_has_its_fork(tmp_path: Path) -> None:
    sweep = detached(tmp_path, THREE.replace("steps = 1500", "steps = 1_000_000"), "--jobs", "1")
    first = sweep.runs()[0]
    wait_until(lambda: state(first) == "running", "a running worker")
    forked = bnrun("fork", "tiny-001/none-s0", "lr=1e-4", "--detach", cwd=tmp_path)
    assert forked.returncode == 0, forked.stderr
    fork = sweep.runs()[-1]
    wait_until(lambda: state(fork) == "running", "a running fork")
    began = time.monotonic()
    done = bnrun("stop", "tiny-001", "--wait", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 55
    assert "no answer" not in done.stderr
    assert f"{first.name}: " in done.stdout
    assert f"{fork.name}: " in done.stdout
    assert requests.waiting(first) == [], "no request is left to meet the resumed run"
    wait_until(lambda: read_owner(sweep) is None, "the supervisor's end")
    assert [state(run) for run in sweep.runs()] == ["stopped"] * 4


def test_who_is_gone_is_not_waited_for_because_another_is_there(tmp_path: Path) -> None:
    """One run answers, the other holds still: only the latter is waited for."""
    sweep = detached(tmp_path, ENDLESS, "--jobs", "2")
    first, second = sweep.runs()
    for run in (first, second):
        wait_until(lambda run=run: state(run) == "running", "a running worker")  # type: ignore[misc]
    with held_still(pid_of(second)):
        done = bnrun("set", "tiny-001", "lr=1e-4", "--wait", "--timeout", "10", cwd=tmp_path)
        assert done.returncode == 3
        assert "tiny-001/none-s0: applied" in done.stdout
        assert "tiny-001/batch-s0: no answer; the request stays in its inbox" in done.stderr
    assert bnrun("stop", "tiny-001", "--wait", cwd=tmp_path).returncode == 0
    wait_until(lambda: read_owner(sweep) is None, "the supervisor's end")


def test_a_stop_that_reaches_a_run_as_it_ends_does_not_wait_for_the_resumed_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker has taken its last look into the inbox; its status still says running."""
    sweep, run = SweepDir(tmp_path / "tiny-001"), RunDir(tmp_path / "tiny-001" / "none-s0")
    for inbox in (sweep.inbox, run.inbox):
        inbox.mkdir(parents=True)
    deaf = tmp_path / "python"
    deaf.write_text("#!/bin/sh\nsleep 0.5\n")
    deaf.chmod(0o700)
    monkeypatch.setattr(local, "sys", SimpleNamespace(executable=str(deaf)))
    supervisor, sent = Supervisor(sweep, [run], jobs=1), []

    def tick() -> None:
        if supervisor.local.at_work() and not sent:
            write_status(run, Status("running", 3, 10))
            sent.append(requests.send_request(sweep, StopSweep()))
        elif requests.waiting(run):
            sent.append("to the run")

    supervisor.run(tick)
    assert len(sent) > 1, "the supervisor's request reached the run"
    assert requests.waiting(run) == []
