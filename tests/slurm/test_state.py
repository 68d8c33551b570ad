"""What a run is shown as, by its heartbeat and by what Slurm says of its task."""

from __future__ import annotations

from pathlib import Path

import pytest

from bncore.launch.slurm import state as slurm_state
from bncore.launch.slurm.array import Job, Record, read_record, record_file
from bncore.launch.slurm.client import QueuedTask, SlurmError, require, sbatch, scancel, squeue
from bncore.launch.slurm.options import SlurmOptions
from bncore.launch.slurm.state import GONE, Queue, state_by_slurm, state_by_task
from bncore.store.owner import Owner
from bncore.store.paths import RunDir, SweepDir
from bncore.store.status import Observer, State, Status, write_status
from slurm.factories import FakeSlurm, without_slurm

MINE = Owner("node7", "boot", 1, 2, "nonce", "", "12_3", 1)
ANOTHER = Owner("node7", "boot", 1, 2, "nonce", "", "11_3", 0)
LOCAL = Owner("login", "boot", 1, 2, "nonce")


@pytest.mark.parametrize(
    ("state", "holder", "task", "shown"),
    [
        # waiting: queued, whatever a former process of the task has said last
        ("queued", None, "PENDING", "queued"),
        ("stopped", None, "PENDING", "queued"),
        ("running", MINE, "PENDING", "queued"),
        ("queued", None, "RUNNING", "queued"),  # it is being started
        ("queued", None, "COMPLETING", "queued"),
        # at work, or on its way out: the heartbeat says
        ("running", MINE, "RUNNING", None),
        ("paused", MINE, "COMPLETING", None),
        ("stopped", None, "COMPLETING", None),
        ("stopped", None, "CANCELLED", None),
        ("stopped", None, GONE, None),
        # lost
        ("running", MINE, "NODE_FAIL", "dead"),
        ("running", MINE, GONE, "dead"),
        ("queued", None, "CANCELLED", "dead"),
        ("queued", None, GONE, "dead"),
        # somebody else runs it: an earlier array, or this host
        ("running", ANOTHER, "CANCELLED", None),
        ("running", ANOTHER, "PENDING", None),
        ("running", LOCAL, GONE, None),
    ],
)
def test_state_by_heartbeat_and_task(
    state: State, holder: Owner | None, task: str, shown: str | None
) -> None:
    reported = state_by_task(Status(state, 5, 10), holder, QueuedTask("12_3", task, "Because"))
    assert (reported and reported[0]) == shown
    if reported is not None:
        assert "12_3" in reported[1].message
        assert reported[1].step == 5
    if shown == "dead" and reported is not None:
        assert "`bnrun resume` continues" in reported[1].message
        assert ("no longer known" in reported[1].message) == (task == GONE)


def test_what_a_local_supervisor_will_start_is_not_dead() -> None:
    assert state_by_task(Status("queued"), None, QueuedTask("12_3", GONE), supervised=True) is None


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """The second task of two of a recorded job."""
    run = RunDir(tmp_path / "sweep" / "b-s0")
    run.path.mkdir(parents=True)
    write_status(run, Status("queued"))
    record_file(run.sweep).write_text(
        '{"options": {"partition": "gpu"}, "jobs": ['
        '{"id": "7", "jobs": 1, "t": 1.0, "tasks": {"0": "a-s0", "1": "b-s0"}},'
        '{"id": "9", "jobs": 1, "t": 2.0, "tasks": {"0": "b-s0"}}]}'
    )
    return run


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """Commands that only say yes."""
    one = FakeSlurm(tmp_path / "slurm")
    monkeypatch.setenv("PATH", one.path)
    return one


def test_the_record_knows_the_newest_task_of_a_run(run: RunDir) -> None:
    record = read_record(run.sweep)
    first, second = Job("7", 1, 1.0, {"0": "a-s0", "1": "b-s0"}), Job("9", 1, 2.0, {"0": "b-s0"})
    assert record == Record(SlurmOptions(partition="gpu"), (first, second))
    assert record.task_of(run) == "9_0"
    assert record.task_of(RunDir(run.path.parent / "a-s0")) == "7_0"
    assert record.task_of(RunDir(run.path.parent / "fork")) is None


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"options": {}, "jobs": [{}]}', '{"options": 3, "jobs": []}']
)
def test_a_record_that_makes_no_sense_is_none(tmp_path: Path, text: str) -> None:
    sweep = SweepDir(tmp_path)
    assert read_record(sweep) is None
    record_file(sweep).write_text(text)
    assert read_record(sweep) is None


def test_slurm_is_asked_now_and_then_only(run: RunDir, slurm: FakeSlurm) -> None:
    now = 0.0
    queue = Queue(lambda: now)
    slurm.queue("7|0|RUNNING|None", "9|0|PENDING|Resources")
    assert queue.task(run) == QueuedTask("9_0", "PENDING", "Resources")
    slurm.queue()
    assert queue.task(run) == QueuedTask("9_0", "PENDING", "Resources")
    now = slurm_state.POLL_EVERY_S
    assert queue.task(run) == QueuedTask("9_0", GONE)


def test_where_slurm_cannot_be_asked_the_run_says_what_it_is(run: RunDir, slurm: FakeSlurm) -> None:
    slurm.command("squeue", "echo 'Unable to contact slurm controller' >&2; exit 1")
    assert squeue(["9"]) is None
    assert state_by_slurm(Queue(), run, Status("queued"), Observer()) is None
    slurm.command("squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    reported = state_by_slurm(Queue(), run, Status("queued"), Observer())
    assert reported is not None
    assert reported[0] == "dead"


def test_a_run_that_has_ended_costs_no_question(run: RunDir, slurm: FakeSlurm) -> None:
    slurm.command("squeue", "touch {folder}/was-called")
    for state in ("finished", "diverged", "failed"):
        assert state_by_slurm(Queue(), run, Status(state), Observer()) is None
    assert not (slurm.folder / "was-called").exists()


def test_what_slurm_refuses_is_told_in_words(
    tmp_path: Path, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm.command(
        "sbatch", "echo 'sbatch: error: invalid partition\n  specified\nsbatch: error: no' >&2; exit 1"
    )
    with pytest.raises(SlurmError, match=r"^sbatch: error: invalid partition specified; error: no$"):
        sbatch(tmp_path / "x.sh")
    slurm.command("sbatch", "echo hello")
    with pytest.raises(SlurmError, match="expected a job's id, got 'hello'"):
        sbatch(tmp_path / "x.sh")
    slurm.command("sbatch", "echo '12;cluster'")
    assert sbatch(tmp_path / "x.sh") == "12"
    scancel([])
    assert slurm.calls("scancel") == []
    monkeypatch.setenv("PATH", without_slurm(tmp_path / "bin"))
    with pytest.raises(SlurmError, match=r"^scancel: not found"):
        require("scancel")
