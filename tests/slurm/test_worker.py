"""A worker as a task of Slurm: real processes and signals, and a Slurm that only says yes."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import orjson
import pytest
from forked import server
from resume.factories import (
    DEEP_LINEAR,
    digest,
    end,
    events,
    make_run,
    story,
    train,
    wait_until,
)

from bncore.store import commands, requests
from bncore.store.errors import AlreadyOwnedError
from bncore.store.owner import Owner, read_owner
from bncore.store.paths import RunDir
from bncore.store.status import Status, read_status, write_status
from bncore.train import worker
from bncore.train.slurm_task import SHORT_SILENCE_S, SlurmTask, this_task
from slurm.factories import FakeSlurm

MIDDLE = 20


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run to which nothing happens."""
    run = make_run(tmp_path_factory.mktemp("undisturbed") / "a-s0", DEEP_LINEAR)
    assert train(run) == 0
    return run


@pytest.fixture
def slurm(tmp_path: Path) -> FakeSlurm:
    """Commands that only say yes."""
    return FakeSlurm(tmp_path / "slurm")


def start(run: RunDir, slurm: FakeSlurm, *, restarts: int = 0) -> ForkServerProcess:
    """Task 3 of job 12 on a run."""
    environment = {"PATH": slurm.path, "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3"}
    if restarts:
        environment["SLURM_RESTART_COUNT"] = str(restarts)
    process = server.Process(target=_work, args=(str(run.path), environment), daemon=True)
    process.start()
    return process


def _work(run: str, environment: dict[str, str]) -> None:
    from bncore.train import slurm_worker  # noqa: PLC0415 - in the child only

    os.environ.update(environment)
    os._exit(slurm_worker.main([run]))


def start_and_hold(run: RunDir, slurm: FakeSlurm) -> ForkServerProcess:
    """A task that waits in the middle of its run."""
    requests.send_request(run, commands.Pause(at_step=MIDDLE))
    process = start(run, slurm)
    wait_until(lambda: said(run).state == "paused", "a paused run")
    return process


def said(run: RunDir) -> Status:
    status = read_status(run)
    assert status is not None
    return status


def requested(run: RunDir, *kinds: str) -> list[dict[str, object]]:
    """The journal but for the requests that held the run."""
    return [event for event in story(run) if event.get("command", {}).get("kind") not in kinds]


def test_given_notice_it_checkpoints_and_goes_back_into_the_queue(
    tmp_path: Path, slurm: FakeSlurm, undisturbed: RunDir
) -> None:
    run = make_run(tmp_path / "sweep" / "a-s0", DEEP_LINEAR)
    process = start_and_hold(run, slurm)
    holder = read_owner(run)
    assert holder is not None
    assert (holder.task, holder.restarts) == ("12_3", 0)
    os.kill(process.pid or 0, signal.SIGUSR2)
    assert end(process) == 75
    assert slurm.calls("scontrol") == ["requeue 12_3"]
    assert (said(run).state, said(run).step) == ("queued", MIDDLE)
    assert (run.checkpoints / f"step-{MIDDLE:09d}.pt").exists()
    assert read_owner(run) is None
    assert end(start(run, slurm, restarts=1)) == 0
    assert [e["step"] for e in events(run) if e["type"] == "start"] == [0, MIDDLE]
    assert digest(run) == digest(undisturbed)
    assert requested(run, "pause") == story(undisturbed)


@pytest.mark.parametrize(("first", "code"), [((), 143), ((signal.SIGUSR2,), 143)])
def test_cancelled_it_checkpoints_and_is_not_requeued(
    tmp_path: Path, slurm: FakeSlurm, first: tuple[signal.Signals, ...], code: int
) -> None:
    """Whatever notice it had before: the loop is frozen between the two signals."""
    run = make_run(tmp_path / "sweep" / "a-s0", DEEP_LINEAR)
    process = start_and_hold(run, slurm)
    pid = process.pid or 0
    os.kill(pid, signal.SIGSTOP)
    for number in (*first, signal.SIGTERM, signal.SIGCONT):
        os.kill(pid, number)
    assert end(process) == code
    assert [line for line in slurm.calls("scontrol") if line.startswith("requeue")] == []
    assert (said(run).state, said(run).step) == ("stopped", MIDDLE)
    assert (run.checkpoints / f"step-{MIDDLE:09d}.pt").exists()


def test_requeued_by_slurm_itself_it_says_that_it_waits(tmp_path: Path, slurm: FakeSlurm) -> None:
    (slurm.folder / "job.txt").write_text("JobId=15 ArrayJobId=12\n   Requeue=1 Restarts=1 BatchFlag=1\n")
    run = make_run(tmp_path / "sweep" / "a-s0", DEEP_LINEAR)
    process = start_and_hold(run, slurm)
    os.kill(process.pid or 0, signal.SIGTERM)
    assert end(process) == 143
    assert slurm.calls("scontrol") == ["show job 12_3"]
    assert (said(run).state, said(run).message) == ("queued", "checkpointed; requeued by Slurm")


def test_where_slurm_will_not_requeue_it_is_stopped_and_says_why(tmp_path: Path, slurm: FakeSlurm) -> None:
    slurm.command("scontrol", "echo 'Requested operation is presently disabled' >&2; exit 1")
    run = make_run(tmp_path / "sweep" / "a-s0", DEEP_LINEAR)
    process = start_and_hold(run, slurm)
    os.kill(process.pid or 0, signal.SIGUSR2)
    assert end(process) == 128 + signal.SIGUSR2
    assert said(run).state == "stopped"
    assert "not requeued: Requested operation is presently disabled" in said(run).message


@pytest.mark.parametrize(("restarts", "state"), [(1, "stopped"), (0, "finished")])
def test_a_stop_outlives_a_requeue_but_not_a_resumption(
    tmp_path: Path, slurm: FakeSlurm, restarts: int, state: str
) -> None:
    """Nobody wants the first to continue; somebody does the second."""
    run = make_run(tmp_path / "sweep" / "a-s0", DEEP_LINEAR)
    process = start_and_hold(run, slurm)
    os.kill(process.pid or 0, signal.SIGUSR2)
    end(process)
    requests.send_request(run, commands.Stop())
    assert end(start(run, slurm, restarts=restarts)) == 0
    assert said(run).state == state


def test_outside_of_an_array_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from bncore.train import slurm_worker  # noqa: PLC0415

    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    monkeypatch.setattr(slurm_worker.Signals, "install", lambda *_, **__: None)
    assert slurm_worker.main(["anywhere"]) == 2


@pytest.mark.parametrize(
    ("environment", "task"),
    [
        ({"SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3"}, SlurmTask("12_3", 0)),
        (
            {"SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3", "SLURM_RESTART_COUNT": "2"},
            SlurmTask("12_3", 2),
        ),
        ({"SLURM_JOB_ID": "12"}, None),
        ({}, None),
    ],
)
def test_the_task_is_known_by_the_environment(environment: dict[str, str], task: SlurmTask | None) -> None:
    assert this_task(environment) == task


FORMER = Owner("another-node", "boot", 4242, 17, "nonce", "", "12_3", 0)


@pytest.mark.parametrize(
    ("holder", "task", "asked_for"),
    [
        (FORMER, SlurmTask("12_3", 1), [SHORT_SILENCE_S]),
        (FORMER, SlurmTask("12_3", 0), [None]),  # not restarted: it is a riddle who holds it
        (replace(FORMER, restarts=1), SlurmTask("12_3", 1), [None]),
        (replace(FORMER, task="11_3"), SlurmTask("12_3", 1), [None]),
        (replace(FORMER, task=""), SlurmTask("12_3", 1), [None]),
        (FORMER, None, [None]),
    ],
)
def test_a_restarted_task_waits_shortly_for_its_former_self_and_long_for_others(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    holder: Owner,
    task: SlurmTask | None,
    asked_for: list[float | None],
) -> None:
    run = make_run(tmp_path / "sweep" / "a-s0", DEEP_LINEAR)
    run.owner_file.write_bytes(orjson.dumps(holder))
    waited: list[float | None] = []

    def silent(runs: list[RunDir], *, seconds: float | None = None) -> list[RunDir]:
        waited.append(seconds)
        return runs

    monkeypatch.setattr(worker, "find_stalled", silent)
    ownership = worker._acquire(run, task, force=False)
    assert waited == asked_for
    assert ownership.contested
    assert ownership.holder.task == (task.name if task else "")


def test_a_former_self_that_still_beats_keeps_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its node was only cut off from Slurm."""
    run = make_run(tmp_path / "sweep" / "a-s0", DEEP_LINEAR)
    run.owner_file.write_bytes(orjson.dumps(FORMER))
    counter = 0

    def beat(_: float) -> None:
        nonlocal counter
        counter += 1
        write_status(run, Status("running", counter=counter))

    monkeypatch.setattr(
        worker.find_stalled, "__kwdefaults__", {**worker.find_stalled.__kwdefaults__, "sleep": beat}
    )
    with pytest.raises(AlreadyOwnedError, match="process 4242 on another-node"):
        worker._acquire(run, SlurmTask("12_3", 1), force=False)
