"""A fork differs from its parent by one journaled request, from that step on."""

from __future__ import annotations

from pathlib import Path

import pytest
from resume.factories import DEEP_LINEAR, digest, end, events, make_run, start, train, wait_for_state

from bncore.config.errors import SpecError
from bncore.store import commands, requests
from bncore.store.branch import BranchError, fork, replay
from bncore.store.lineage import read_lineage
from bncore.store.paths import RunDir, SweepDir, list_checkpoints
from bncore.store.reader import read
from bncore.store.replay_diff import compare
from bncore.store.verify import verify
from bncore.train.checkpoint import step_and_digest
from steer.factories import OBSERVED, events_of, finished

TOLD = ("step", "eval", "probe", "finished")


@pytest.fixture
def parent(tmp_path: Path) -> RunDir:
    """A finished run, steered at 20, with checkpoints at 49, 56 and 60, and one requested at 30."""
    run = make_run(tmp_path / "sweep" / "batch-s0", OBSERVED)
    requests.send_request(run, commands.Set(changes={"norm.kind": "l1"}, at_step=20))
    requests.send_request(run, commands.Checkpoint(at_step=30))
    assert train(run) == 0
    assert [c.step for c in list_checkpoints(run.checkpoints)] == [30, 56, 60]
    return run


@pytest.mark.parametrize(
    ("at", "begins"), [(0, 0), (10, 0), (20, 0), (29, 0), (30, 30), (45, 30), (56, 56), (59, 56)]
)
def test_both_branches_differ_by_the_change_alone(parent: RunDir, at: int, begins: int) -> None:
    branch = fork(parent, at=at, changes={"optim.lr": 0.003})
    assert train(branch) == 0, branch.log_file.read_text()
    requested = [(20, {"norm.kind": "l1"})] if at >= 20 else []
    requested.append((at, {"optim.lr": 0.003}))
    same = finished(parent.path.parent.parent / "straight" / "batch-s0", OBSERVED, requested)
    assert events_of(branch, *TOLD) == [e for e in events_of(same, *TOLD) if e["step"] >= begins]
    assert digest(branch) == digest(same)
    assert [e["step"] for e in events(branch)][:2] == [begins, begins]
    (origin,) = (e for e in events(branch) if e["type"] == "parent")
    assert (origin["run"], origin["at"]) == ("../batch-s0", at)
    change = events_of(branch, "request")[-1]
    assert (change["step"], change["old"], change["new"]) == (at, {"optim.lr": 0.01}, {"optim.lr": 0.003})
    assert verify(branch, step_and_digest) == []


def test_a_fork_may_follow_what_was_asked_of_its_parent_later(parent: RunDir) -> None:
    branch = fork(parent, at=10, changes={"optim.lr": 0.003}, follow=True)
    assert train(branch) == 0, branch.log_file.read_text()
    requested = [(10, {"optim.lr": 0.003}), (20, {"norm.kind": "l1"})]
    assert digest(branch) == digest(
        finished(parent.path.parent.parent / "x" / "batch-s0", OBSERVED, requested)
    )


def test_without_a_change_a_fork_goes_the_same_way(parent: RunDir) -> None:
    branch = fork(parent, at=30, changes={})
    assert train(branch) == 0
    assert digest(branch) == digest(parent)


def test_without_a_step_it_forks_at_the_newest_checkpoint_before_the_end(parent: RunDir) -> None:
    lineage = read_lineage(fork(parent, at=None, changes={"noise.on": True}))
    assert lineage is not None
    assert (lineage.at, lineage.step) == (56, 56)


def test_readers_show_the_parent_s_curve_before_it(parent: RunDir) -> None:
    branch = fork(parent, at=45, changes={"norm.kind": "none"})
    assert train(branch) == 0
    mine, its = read(branch).advance(), read(parent).advance()
    for table, field in (("step", "loss"), ("eval", "test_loss"), ("probe:ics", "l2")):
        whole, before = mine.series(table, field), its.series(table, field)
        assert whole.steps.tolist() == before.steps.tolist()
        count = int((before.steps < 45).sum())
        assert (whole.values[:count] == before.values[:count]).all()
        assert not (whole.values[count + 1 :] == before.values[count + 1 :]).any()
    parent.path.rename(parent.path.with_name("gone"))
    assert read(branch).advance().series("step", "loss").steps[0] == 30  # its own rows are still there


def test_a_fork_of_a_fork_shows_all_that_came_before(parent: RunDir) -> None:
    first = fork(parent, at=30, changes={"optim.lr": 0.003})
    assert train(first) == 0
    second = fork(first, at=50, changes={"optim.lr": 0.001})
    assert train(second) == 0
    series = read(second).advance().series("step", "lr")
    assert series.steps.tolist() == list(range(60))
    assert series.values.tolist() == [0.01] * 30 + [0.003] * 20 + [0.001] * 10
    with pytest.raises(
        BranchError, match=r"--at: 29; expected a step of sweep/batch-s0-fork-1, from 30 to 59"
    ):
        fork(first, at=29, changes={})


def test_a_fork_lies_beside_its_parent_and_is_one_of_the_sweep_s_runs(parent: RunDir) -> None:
    names = [fork(parent, at=30, changes={"noise.on": True}).path.name for _ in range(3)]
    assert names == [f"batch-s0-fork-{n}" for n in (1, 2, 3)]
    listed = [run.path.name for run in SweepDir(parent.path.parent).runs()]
    assert listed == ["batch-s0", *names]


def test_a_live_run_can_be_forked(tmp_path: Path) -> None:
    run = make_run(tmp_path / "sweep" / "batch-s0", DEEP_LINEAR)
    requests.send_request(run, commands.Pause(at_step=40))
    process = start(run)
    wait_for_state(run, "paused", 40)
    branch = fork(run, at=40, changes={"norm.kind": "none"})
    requests.send_request(run, commands.Resume())
    assert end(process) == 0
    assert train(branch) == 0
    assert events_of(branch, "step")[0]["step"] == 35
    assert digest(branch) == digest(
        finished(tmp_path / "x" / "s-s0", DEEP_LINEAR, [(40, {"norm.kind": "none"})])
    )


def test_a_killed_fork_resumes(parent: RunDir) -> None:
    branch = fork(parent, at=33, changes={"norm.kind": "none"})
    plain = fork(parent, at=33, changes={"norm.kind": "none"})
    assert train(branch, failpoint="journal.half:5") < 0
    assert train(branch, failpoint="journal.half:22") < 0
    assert train(branch) == 0
    assert train(plain) == 0
    assert events_of(branch, *TOLD) == events_of(plain, *TOLD)


def test_a_fork_replays(parent: RunDir) -> None:
    branch = fork(parent, at=33, changes={"norm.kind": "none"})
    assert train(branch) == 0
    (again,) = replay([branch]).runs()
    assert train(again) == 0
    assert compare(branch, again).same
    assert read(again).advance().series("step", "loss").steps.tolist() == list(range(60))


def test_a_fork_whose_checkpoint_is_gone_does_not_begin_anew(parent: RunDir) -> None:
    branch = fork(parent, at=33, changes={})
    for found in list_checkpoints(branch.checkpoints):
        found.path.write_bytes(b"damaged")
    assert train(branch) == 1
    assert "no valid checkpoint of step 30, where it was forked" in branch.log_file.read_text()


@pytest.mark.parametrize(
    ("at", "changes", "why"),
    [
        (60, {}, r"--at: 60; expected a step of sweep/batch-s0, from 0 to 59"),
        (10**9, {}, r"--at: 1000000000; expected"),
        (30, {"steps": 100}, "steps = 100: cannot change"),
        (30, {"norm.kind": "l0"}, "norm.kind = 'l0': expected one of"),
        (30, {"norm.kind": "instance"}, "norm.kind = 'instance'"),
    ],
)
def test_what_cannot_be_forked_is_refused_and_nothing_made(
    parent: RunDir, at: int, changes: dict[str, object], why: str
) -> None:
    before = sorted(p.name for p in parent.path.parent.iterdir())
    with pytest.raises((BranchError, SpecError), match=why):
        fork(parent, at=at, changes=changes)
    assert sorted(p.name for p in parent.path.parent.iterdir()) == before


def test_a_run_without_checkpoints_needs_a_step(tmp_path: Path) -> None:
    run = make_run(tmp_path / "sweep" / "batch-s0", DEEP_LINEAR)
    with pytest.raises(BranchError, match="no checkpoint to fork from; say --at STEP, from 0 to 0"):
        fork(run, at=None, changes={})


@pytest.mark.parametrize("kills", [1, 2, 3])
@pytest.mark.parametrize("event", [1, 2, 3])
def test_a_fork_killed_at_its_first_events_still_knows_its_parent(
    parent: RunDir, event: int, kills: int
) -> None:
    branch = fork(parent, at=45, changes={"norm.kind": "none"})
    for _ in range(kills):
        assert train(branch, failpoint=f"journal.half:{event}") < 0
    assert train(branch) == 0
    origins = [e for e in events(branch) if e["type"] == "parent"]
    assert len(origins) == 1
    assert read(branch).advance().series("step", "loss").steps.tolist() == list(range(60))
    assert verify(branch, step_and_digest) == []
