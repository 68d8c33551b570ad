"""Sweeps under a supervisor, detached from the terminal they came from: real processes, real signals."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pexpect
import pytest
from cli.factories import TINY, bnrun, clean_environment, tiny_experiment
from resume.factories import (
    DEEP_LINEAR,
    events,
    events_so_far,
    held_still,
    make_run,
    steps_so_far,
    wait_until,
)

from bncore.launch.local import LocalSweep
from bncore.store import commands, requests
from bncore.store.owner import process_start, read_owner
from bncore.store.paths import RunDir, SweepDir
from bncore.store.status import read_status

LONG = TINY.replace("steps = 12", "steps = 1500").replace("depth = 3", "depth = 6")
ENDLESS = LONG.replace("steps = 1500", "steps = 1_000_000")
THREE = LONG.replace('["none", "batch"]', '["none", "batch", "l1"]')


def state(run: RunDir) -> str:
    status = read_status(run)
    return status.state if status is not None else ""


def pid_of(held: RunDir | SweepDir) -> int:
    """The process that holds it."""
    wait_until(lambda: read_owner(held) is not None, "a holder")
    holder = read_owner(held)
    assert holder is not None
    return holder.pid


def detached(folder: Path, text: str, *options: str) -> SweepDir:
    """A sweep left running in the background."""
    done = bnrun("run", tiny_experiment(folder, text), "--detach", *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    return SweepDir(Path(folder / done.stdout.strip()))


@contextmanager
def at_work(run: RunDir) -> Iterator[None]:
    """A run that has begun and does not go on meanwhile."""
    wait_until(lambda: state(run) == "running", "a running worker")
    with held_still(pid_of(run)):
        yield


def person(folder: Path, *arguments: str) -> pexpect.spawn:
    """Somebody typing a command at a terminal."""
    return pexpect.spawn(
        _python(),
        ["-m", "bntui.cli.main", *arguments],
        cwd=str(folder),
        env=clean_environment(folder),
        timeout=60,
    )


def digests(folder: Path, sweep: str) -> dict[str, str]:
    rows = json.loads(bnrun("ls", "--json", cwd=folder).stdout)
    return {r["run"].partition("/")[2]: r["params_sha256"] for r in rows if r["run"].startswith(sweep + "/")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the long sweep comes to when nothing happens."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert (
        bnrun("run", tiny_experiment(folder, THREE), "--headless", "--jobs", "2", cwd=folder).returncode == 0
    )
    return digests(folder, "tiny-001")


def test_a_detached_sweep_outlives_the_terminal_it_came_from(tmp_path: Path) -> None:
    tiny_experiment(tmp_path, LONG)
    shell = pexpect.spawn("/bin/sh", ["-i"], cwd=str(tmp_path), env=clean_environment(tmp_path), timeout=60)
    shell.sendline("python -m bntui.cli.main run tiny.toml --detach --jobs 2".replace("python", _python()))
    shell.expect(r"detached: process (\d+) supervises it")
    shell.expect("tiny-001")
    sweep = SweepDir(tmp_path / "runs" / "tiny-001")
    run = RunDir(sweep.path / "batch-s0")
    with at_work(run):
        supervisor = pid_of(sweep)
        shell.close(force=True)  # the terminal goes, as when SSH or tmux does
        time.sleep(0.5)
        assert process_start(supervisor) is not None
        assert os.getsid(supervisor) == supervisor
    wait_until(lambda: all(state(r) == "finished" for r in sweep.runs()), "the end")
    wait_until(lambda: process_start(supervisor) is None, "the supervisor's end")
    status = read_status(sweep)
    assert status is not None
    assert (status.state, status.step, status.steps) == ("finished", 2, 2)


def test_it_is_found_from_any_shell(tmp_path: Path) -> None:
    sweep = detached(tmp_path, ENDLESS)
    listed = json.loads(bnrun("ls", "--json", cwd=tmp_path).stdout)
    assert [row["run"] for row in listed] == ["tiny-001/none-s0", "tiny-001/batch-s0"]
    assert {row["state"] for row in listed} <= {"queued", "running"}
    assert bnrun("stop", "tiny-001", "--wait", cwd=tmp_path).returncode == 0
    wait_until(lambda: read_owner(sweep) is None, "the supervisor's end")


def test_stopping_a_sweep_stops_what_runs_and_starts_nothing_more(
    tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    sweep = detached(tmp_path, THREE, "--jobs", "1")
    first, *others = sweep.runs()
    with at_work(first):
        assert bnrun("stop", "tiny-001", cwd=tmp_path).returncode == 0
    wait_until(lambda: read_owner(sweep) is None, "the supervisor's end")
    assert state(first) == "stopped"
    assert [state(run) for run in others] == ["stopped", "stopped"]
    assert not any(run.journal_file.exists() for run in others)
    assert bnrun("resume", "tiny-001", "--jobs", "2", cwd=tmp_path).returncode == 0
    assert digests(tmp_path, "tiny-001") == undisturbed


def test_a_queued_run_can_be_dropped_and_taken_up_later(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    sweep = detached(tmp_path, THREE, "--jobs", "1")
    first, second, third = sweep.runs()
    with at_work(first):
        requests.send_request(sweep, commands.CancelQueued(run="a\x1b[2Jb"))
        assert bnrun("stop", "tiny-001/batch-s0", cwd=tmp_path).returncode == 0
        wait_until(lambda: state(second) == "stopped", "the drop")
    [line] = sweep.log_file.read_text().splitlines()
    assert re.fullmatch(
        r"[-\d]+ [:\d]+[-+]\d{4} WARNING tiny-001/a\\x1b\[2Jb: not queued, so not dropped", line
    )
    status = read_status(second)
    assert status is not None
    assert status.message.startswith("dropped by ")
    wait_until(lambda: state(third) == "finished", "the others")
    assert not second.journal_file.exists()
    wait_until(lambda: read_owner(sweep) is None, "the supervisor's end")
    assert bnrun("resume", "tiny-001", cwd=tmp_path).returncode == 0
    assert digests(tmp_path, "tiny-001") == undisturbed


def test_a_change_reaches_queued_runs_too(tmp_path: Path) -> None:
    sweep = detached(tmp_path, LONG, "--jobs", "1")
    first, second = sweep.runs()
    with at_work(first):
        shell = person(tmp_path, "set", "tiny-001", "lr=2e-3", "--wait")
        wait_until(lambda: len(requests.waiting(first)) == 1, "the request")
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 0
    wait_until(lambda: state(second) == "finished", "the end")
    assert [e["new"] for e in events(first) if e["type"] == "request"] == [{"optim.lr": 2e-3}]
    assert [(e["step"], e["new"]) for e in events(second) if e["type"] == "request"] == [
        (0, {"optim.lr": 2e-3})
    ]


@pytest.mark.parametrize("victims", ["worker", "supervisor", "both"])
def test_killed_with_requests_in_flight_it_shows_as_dead_and_resumes(
    tmp_path: Path, undisturbed: dict[str, str], victims: str
) -> None:
    sweep = detached(tmp_path, THREE, "--jobs", "1")
    first, *others = sweep.runs()
    wait_until(lambda: len(steps_so_far(first, "step")) > 50, "some steps")
    supervisor, worker = pid_of(sweep), pid_of(first)
    with held_still(worker):
        ids = [requests.send_request(first, commands.Note(text=str(n))) for n in range(30)]
        if victims in ("supervisor", "both"):
            os.kill(supervisor, signal.SIGKILL)
        if victims in ("worker", "both"):
            os.kill(worker, signal.SIGKILL)
    wait_until(lambda: process_start(worker) is None, "the worker's end")
    if victims == "worker":
        wait_until(lambda: all(state(run) == "finished" for run in others), "the others, untroubled")
        wait_until(lambda: read_owner(sweep) is None, "the supervisor's end")
    rows = {
        r["run"].partition("/")[2]: r["state"] for r in json.loads(bnrun("ls", "--json", cwd=tmp_path).stdout)
    }
    assert rows[first.path.name] == ("stopped" if victims == "supervisor" else "dead")
    if victims != "worker":
        assert [rows[run.path.name] for run in others] == ["dead", "dead"]
    done = bnrun("resume", "tiny-001", "--jobs", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path, "tiny-001") == undisturbed
    assert [e["id"] for e in events(first) if e["type"] == "request"] == ids
    assert bnrun("verify", "tiny-001", cwd=tmp_path).returncode == 0


def test_two_people_steer_one_run_and_each_request_is_answered_once(tmp_path: Path) -> None:
    sweep = detached(tmp_path, ENDLESS, "--jobs", "1")
    run = sweep.runs()[0]
    wait_until(lambda: state(run) == "running", "the run")
    rates = ("1e-3", "2e-3", "3e-3")
    shells = [person(tmp_path, "set", "tiny-001/none-s0", f"lr={lr}", "--wait") for lr in rates]
    said = [shell.read().decode() for shell in shells]
    assert all("applied at step" in text for text in said), said
    requested = [e for e in events_so_far(run) if e["type"] == "request"]
    assert sorted(e["new"]["optim.lr"] for e in requested) == [1e-3, 2e-3, 3e-3]
    for before, after in itertools.pairwise(requested):
        assert after["old"] == before["new"]


def test_asking_a_run_that_nobody_runs_says_so(tmp_path: Path) -> None:
    folder = tmp_path
    assert bnrun("run", tiny_experiment(folder), "--headless", cwd=folder).returncode == 0
    done = bnrun("set", "tiny-001", "noise=on", "--wait", cwd=folder)
    assert done.returncode == 3
    expected = "no run can accept this (tiny-001/none-s0 finished, tiny-001/batch-s0 finished)"
    assert expected in done.stderr
    assert bnrun("set", "tiny-001", "noise=maybe", cwd=folder).returncode == 2
    assert bnrun("set", "tiny-001", "steps=3", cwd=folder).returncode == 2
    assert bnrun("set", "nowhere", "noise=on", cwd=folder).returncode == 3
    assert not any(requests.waiting(run) for run in SweepDir(folder / "runs" / "tiny-001").runs())


def test_a_rejected_request_has_its_reason_and_exit_code(tmp_path: Path) -> None:
    detached(tmp_path, ENDLESS, "--jobs", "2")
    run = RunDir(tmp_path / "runs" / "tiny-001" / "batch-s0")
    wait_until(lambda: len(steps_so_far(run, "step")) > 5, "some steps")
    done = bnrun("set", "tiny-001/batch-s0", "norm=instance", "--wait", cwd=tmp_path)
    assert done.returncode == 2
    assert "rejected at step" in done.stdout
    assert "norm.kind = 'instance'" in done.stdout


def test_replay_and_fork_by_command(tmp_path: Path) -> None:
    assert bnrun("run", tiny_experiment(tmp_path), "--headless", cwd=tmp_path).returncode == 0
    forked = bnrun("fork", "tiny-001/batch-s0", "--at", "4", "norm=l1", "noise=on", cwd=tmp_path)
    assert forked.returncode == 0, forked.stderr
    assert "batch-s0-fork-1" in bnrun("ls", cwd=tmp_path).stdout
    replayed = bnrun("replay", "tiny-001", cwd=tmp_path)
    assert replayed.returncode == 0, replayed.stderr
    assert replayed.stdout.count("same digest") == 3
    assert bnrun("verify", "tiny-001", cwd=tmp_path).returncode == 0
    assert bnrun("fork", "tiny-001", "norm=l1", cwd=tmp_path).returncode == 2
    assert bnrun("fork", "tiny-001/batch-s0", "norm=l0", cwd=tmp_path).returncode == 2
    assert bnrun("show", "tiny-001", cwd=tmp_path).returncode == 0


def test_a_replay_that_differs_is_told_with_exit_code_1(tmp_path: Path) -> None:
    assert bnrun("run", tiny_experiment(tmp_path), "--headless", cwd=tmp_path).returncode == 0
    journal = tmp_path / "runs" / "tiny-001" / "batch-s0" / "journal.jsonl"
    lines = journal.read_text().splitlines()
    position = next(i for i, line in enumerate(lines) if json.loads(line)["type"] == "step")
    event = json.loads(lines[position])
    lines[position] = json.dumps(event | {"loss": 1.0})
    journal.write_text("\n".join(lines) + "\n")
    done = bnrun("replay", "tiny-001/batch-s0", cwd=tmp_path)
    assert done.returncode == 1
    assert "differs: event" in done.stdout
    assert "loss was 1.0" in done.stdout


def test_a_failed_run_stops_no_other_and_is_not_forgotten(tmp_path: Path) -> None:
    sweep = SweepDir(tmp_path / "sweep")
    runs = [make_run(sweep.path / name, DEEP_LINEAR) for name in ("a-s0", "b-s0", "c-s0")]
    runs[1].spec_file.write_text("nonsense")
    local = LocalSweep(runs, jobs=2)
    local.run()
    assert local.exit_codes == {"a-s0": 0, "b-s0": 2, "c-s0": 0}


def test_a_run_that_cannot_be_started_stops_no_other_and_is_told(tmp_path: Path) -> None:
    sweep = SweepDir(tmp_path / "sweep")
    runs = [make_run(sweep.path / name, DEEP_LINEAR) for name in ("a-s0", "b-s0", "c-s0")]
    shutil.rmtree(runs[1].path)
    local = LocalSweep(runs, jobs=1)
    local.run()
    assert local.exit_codes == {"a-s0": 0, "b-s0": 1, "c-s0": 0}
    assert "No such file or directory" in local.unstarted["b-s0"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_while_a_worker_is_being_made_reaches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    if signal.getsignal(number) is signal.SIG_IGN:  # under nohup
        signal.signal(number, signal.SIG_DFL)
    run = make_run(tmp_path / "sweep" / "a-s0", DEEP_LINEAR.model_copy(update={"steps": 10**6}))
    make = subprocess.Popen

    def interrupted(*arguments: Any, **more: Any) -> subprocess.Popen[bytes]:
        worker = make(*arguments, **more)
        wait_until(lambda: state(run) == "running", "a running worker")
        signal.raise_signal(number)  # before anybody knows of it
        return worker

    monkeypatch.setattr("bncore.launch.local.subprocess.Popen", interrupted)
    local = LocalSweep([run], jobs=1)
    local.run()
    assert local.exit_codes == {"a-s0": 130 if number == signal.SIGINT else 143}
    assert state(run) == "stopped"


def test_each_worker_on_cuda_sees_the_gpu_with_the_fewest_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bncore.launch.local.visible_gpus", lambda: ("3", "5"))
    specs = {"a-s0": "cuda", "b-s0": "cuda", "c-s0": "cuda:1", "d-s0": "cpu", "e-s0": "cuda"}
    runs = [
        make_run(tmp_path / name, DEEP_LINEAR.model_copy(update={"device": device}))
        for name, device in specs.items()
    ]
    local = LocalSweep(runs, jobs=5)
    seen = [local._environment(run) for run in runs]
    assert [e and e["CUDA_VISIBLE_DEVICES"] for e in seen] == ["3", "5", None, None, "3"]


def _python() -> str:
    import sys  # noqa: PLC0415

    return sys.executable
