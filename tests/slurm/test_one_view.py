"""A run whose task Slurm knows is shown in one state, by whatever shows it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from cli.factories import bnrun
from live.factories import events, made_run, write_sweep

from bncore.follow.run_view import RunFollower
from bncore.launch.slurm import state as slurm_state
from bncore.launch.slurm.array import record_file
from bncore.launch.slurm.state import Queue
from bncore.report.report_run import gather
from bncore.store.paths import SweepDir
from bncore.store.status import Observer, State
from bntui.live.sources import Root, Runs, Source
from slurm.factories import FakeSlurm

PATIENCE_S = 30.0
RUNS: dict[str, tuple[State, str, str, str]] = {
    "pending-s0": ("queued", "PENDING", "queued", "Slurm's task 7_0 pending (Resources)"),
    "requeued-s0": ("stopped", "PENDING", "queued", "Slurm's task 7_1 pending (Resources)"),
    "cancelled-s0": ("queued", "CANCELLED", "dead", "Slurm's task 7_2 ended: cancelled; `bnrun resume`"),
    "forgotten-s0": ("queued", "", "dead", "Slurm's task 7_3 is no longer known to Slurm"),
    "finished-s0": ("finished", "CANCELLED", "finished", ""),
}
"""State by the heartbeat, by Slurm, and as shown; with what the message begins."""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """A Slurm that knows of some of the tasks."""
    slurm = FakeSlurm(tmp_path / "slurm")
    monkeypatch.setenv("PATH", slurm.path)
    reasons = {"PENDING": "Resources", "CANCELLED": "JobArrayTaskLimit"}
    tasks = [task for _, task, *_ in RUNS.values()]
    slurm.queue(*(f"7|{i}|{task}|{reasons.get(task)}" for i, task in enumerate(tasks) if task))
    return slurm


@pytest.fixture
def sweep(tmp_path: Path, slurm: FakeSlurm) -> SweepDir:
    """A sweep that was handed to it."""
    sweep = SweepDir(tmp_path / "runs" / "made-001")
    for name, (state, *_) in RUNS.items():
        made_run(sweep.path / name, events(3), state=state)
    write_sweep(sweep.path, list(RUNS))
    job = {"id": "7", "jobs": 1, "t": 1.0, "tasks": {str(i): name for i, name in enumerate(RUNS)}}
    record_file(sweep).write_text(json.dumps({"options": {}, "jobs": [job]}))
    return sweep


def shown(source: Source) -> dict[str, tuple[str, int, str]]:
    """What the explorer shows once Slurm has answered."""
    until = time.monotonic() + PATIENCE_S
    while not any("Slurm" in view.message for view in source.poll(0.1).runs):
        assert time.monotonic() < until
        time.sleep(0.02)
    views = source.poll(0.1).runs  # the answer may have come between two runs of the look before
    return {view.run.path.name: (view.state, view.step, view.message) for view in views}


def test_ls_the_explorer_and_the_report_agree_on_what_slurm_says(sweep: SweepDir) -> None:
    root = sweep.path.parent
    listed = json.loads(bnrun("ls", "--json", "--root", root, cwd=root).stdout)
    by_ls = {Path(row["path"]).name: (row["state"], row["step"], row["message"]) for row in listed}
    by_report = {run.run.path.name: (run.view.state, run.view.step, run.message) for run in gather([sweep])}
    for name, (_, _, state, message) in RUNS.items():
        assert by_ls[name][:2] == (state, 3)
        assert by_ls[name][2].startswith(message)
    assert by_ls == by_report == shown(Runs(sweep)) == shown(Root(root))


def test_a_run_at_rest_follows_what_slurm_says(
    sweep: SweepDir, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_state, "POLL_EVERY_S", 0.0)
    run = next(run for run in sweep.runs() if run.path.name == "requeued-s0")
    follower = RunFollower(run, Observer(), Queue())
    assert follower.poll(None).state == "queued"
    slurm.queue("7|1|CANCELLED|None")
    assert follower.poll().state == "stopped"
    assert follower.poll() is follower.poll()
    slurm.queue("7|1|PENDING|Resources")
    assert follower.poll().state == "queued"


def test_the_explorer_does_not_wait_for_slurm(sweep: SweepDir, slurm: FakeSlurm) -> None:
    slurm.command("squeue", "sleep 2; cat {folder}/queue.txt")
    source, begun = Runs(sweep), time.monotonic()
    first = {view.run.path.name: view.state for view in source.poll(0.0).runs}
    assert time.monotonic() - begun < 1.5
    assert first == {name: state for name, (state, *_) in RUNS.items()}
    assert shown(source)["cancelled-s0"][0] == "dead"
