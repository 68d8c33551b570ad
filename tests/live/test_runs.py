"""A run as it is shown: its state, what holds now, its requests."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from bncore.config.model import Optim
from bncore.follow.request_view import summary
from bncore.follow.run_view import RunFollower, view_runs
from bncore.launch.slurm.state import Queue
from bncore.store.commands import Pause, Set
from bncore.store.journal import Journal
from bncore.store.owner import acquire
from bncore.store.paths import RunDir, SweepDir, variant_and_seed
from bncore.store.requests import send_request
from bncore.store.status import SILENCE_S, Observer, State, Status, write_status
from bncore.store.verify import verify
from live.factories import BEGUN, SMALL, Clock, events, forked_run, made_run, request, view_of


@pytest.mark.parametrize("state", ["queued", "stopped", "finished", "diverged", "failed"])
def test_a_run_that_does_not_live_is_what_it_says(state: State, tmp_path: Path) -> None:
    assert view_of(made_run(tmp_path / "a-s0", state=state)).state == state


def test_a_silent_run_is_dead_and_lives_again_when_its_counter_moves(tmp_path: Path) -> None:
    run, clock = made_run(tmp_path / "a-s0", events(5), state="running"), Clock()
    with_owner = acquire(run)
    follower = RunFollower(run, Observer(clock), Queue())
    assert follower.poll().state == "running"
    clock.now = SILENCE_S
    assert follower.poll().state == "dead"
    write_status(run, Status("running", 5, 40, counter=1))
    assert follower.poll().state == "running"
    with_owner.release()
    assert follower.poll().state == "dead", "nobody holds it"


def test_a_queued_run_whose_supervisor_has_ended_is_dead(tmp_path: Path) -> None:
    run = made_run(tmp_path / "a-s0", state="queued")
    follower = RunFollower(run, Observer(), Queue())
    assert follower.poll().state == "queued"
    write_status(SweepDir(tmp_path), Status("stopped"))
    assert follower.poll().state == "dead"


def test_a_run_that_is_removed_is_gone_and_keeps_its_numbers(tmp_path: Path) -> None:
    run = made_run(tmp_path / "a-s0", events(), state="running")
    follower = RunFollower(run, Observer(), Queue())
    follower.poll(None)
    shutil.rmtree(run.path)
    view = follower.poll()
    assert view.state == "gone"
    assert len(view.columns.series("step", "loss")) == 40
    assert follower.poll() is view


def test_a_run_that_never_was_is_gone(tmp_path: Path) -> None:
    view = view_of(RunDir(tmp_path / "nothing-s3"))
    assert (view.state, view.variant, view.seed, view.submitted) == ("gone", "nothing", 3, None)


def test_files_that_make_no_sense_are_a_state(tmp_path: Path) -> None:
    run = made_run(tmp_path / "a-s0", events(3))
    run.status_file.write_bytes(b"{")
    run.spec_file.write_text("steps = auto")
    run.lineage_file.write_text("[]")
    view = view_of(run)
    assert (view.state, view.spec, view.parent) == ("unknown", None, None)
    assert len(view.columns.series("step", "loss")) == 3


def test_a_journal_of_a_newer_program_is_a_message(tmp_path: Path) -> None:
    run = made_run(tmp_path / "a-s0", [{"type": "start", "step": 0, "schema": 99}])
    view = view_of(run)
    assert view.state == "finished"
    assert "schema 99" in view.message


def test_a_journal_that_cannot_be_read_is_a_message(tmp_path: Path) -> None:
    run = made_run(tmp_path / "a-s0")
    run.journal_file.mkdir()
    assert "journal.jsonl: cannot be read" in view_of(run).message


def test_a_run_out_of_reach_is_unknown_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, stat = made_run(tmp_path / "made-001" / "none-s0", events()), Path.stat

    def refused(path: Path, **more: bool) -> os.stat_result:
        if run.path in path.parents:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, **more)

    monkeypatch.setattr(Path, "stat", refused)
    [view] = view_runs([run], settings=True, enough=lambda _view: False)
    assert (view.state, len(view.columns.tables())) == ("unknown", 0)
    assert view.message == f"{run.journal_file}: cannot be read: Permission denied"
    assert verify(run, lambda _path: (0, ""))


def test_messages_and_names_cannot_steer_the_terminal(tmp_path: Path) -> None:
    view = view_of(made_run(tmp_path / "a\x1b[2J-s0", state="failed", message="\x1b]0;x\x07"))
    assert view.message == "\\x1b]0;x\\x07"
    assert view.variant == "a\\x1b[2J"


def test_a_look_at_which_nothing_is_new_gives_the_same_view(tmp_path: Path) -> None:
    run = made_run(tmp_path / "a-s0", events(5), state="running")
    follower = RunFollower(run, Observer(), Queue())
    first = follower.poll(None)
    assert follower.poll() is first
    journal = Journal(run.journal_file)
    journal.append("step", 5, loss=7.0)
    second = follower.poll()
    assert second is not first
    assert second.columns.series("step", "loss").values[-1] == 7.0
    assert first.columns.series("step", "loss").steps[-1] == 4, "a view never changes"
    journal.close()


def test_an_ended_run_is_looked_at_again_when_it_goes_on(tmp_path: Path) -> None:
    run = made_run(tmp_path / "a-s0", events(5), state="stopped")
    follower = RunFollower(run, Observer(), Queue())
    assert follower.poll(None) is follower.poll()
    write_status(run, Status("queued", 5, 40))
    assert follower.poll().state == "queued"


def test_a_journal_that_begins_anew_is_shown_anew(tmp_path: Path) -> None:
    run = made_run(tmp_path / "a-s0", events(5), state="running")
    follower = RunFollower(run, Observer(), Queue())
    follower.poll(None)
    lines = run.journal_file.read_bytes().splitlines(keepends=True)
    run.journal_file.write_bytes(b"".join(lines[:4]))
    assert len(follower.poll(None).columns.series("step", "loss")) < 5


def test_the_step_is_the_newest_that_is_known(tmp_path: Path) -> None:
    run = made_run(tmp_path / "a-s0", events(9), state="running", step=3)
    with_owner = acquire(run)
    assert view_of(run).step == 9, "the journal is ahead of the heartbeat"
    with_owner.release()
    assert view_of(made_run(tmp_path / "b-s0", events(9), step=40)).step == 40


def test_what_holds_now_is_the_spec_with_what_was_applied(tmp_path: Path) -> None:
    requested = [
        request(3, {"norm.kind": "l1", "noise.on": True}),
        request(4, {"optim.lr": 0.5}, outcome="rejected", reason="no"),
        request(5, {"probes.ics.every": 7}),
        request(6, {"steps": 3}),  # no journal of ours says so
    ]
    view = view_of(made_run(tmp_path / "a-s0", [*events(), *requested]))
    assert view.submitted is not None
    assert view.spec is not None
    assert (view.submitted.norm.kind, view.submitted.noise.on) == ("batch", False)
    assert (view.spec.norm.kind, view.spec.noise.on) == ("l1", True)
    assert view.spec.optim.lr == view.submitted.optim.lr
    assert view.spec.probes.ics.every == 7
    assert view.spec.steps == view.submitted.steps


def test_a_fork_holds_what_its_parent_held_where_it_began(tmp_path: Path) -> None:
    requested = [request(3, {"norm.kind": "l1"}), request(25, {"norm.kind": "linf"})]
    parent = made_run(tmp_path / "a-s0", [*events(), *requested])
    fork = view_of(
        forked_run(tmp_path / "a-s0-fork-1", parent, 20, requests=[request(20, {"noise.on": True})])
    )
    assert fork.spec is not None
    assert (fork.spec.norm.kind, fork.spec.noise.on) == ("l1", True)
    assert (fork.variant, fork.seed) == ("a fork 1", 0)
    assert fork.parent is not None
    assert fork.parent.resolve() == parent.path


def test_requests_are_pending_until_the_journal_answers(tmp_path: Path) -> None:
    run = made_run(tmp_path / "a-s0", events(5), state="running")
    follower = RunFollower(run, Observer(), Queue())
    ident = send_request(run, Set(changes={"noise.on": True}, at_step=9))
    other = send_request(run, Pause())
    assert [(r.id, r.kind, r.summary, r.outcome, r.step) for r in follower.poll().requests] == [
        (ident, "set", "noise on", "pending", 9),
        (other, "pause", "pause", "pending", None),
    ]
    journal = Journal(run.journal_file)
    command = {"kind": "set", "at_step": 9, "changes": {"noise.on": True}}
    journal.append(
        "request",
        9,
        id=ident,
        author="me",
        command=command,
        outcome="rejected",
        old=None,
        new=None,
        reason="\x07",
    )
    journal.close()
    rejected, pending = follower.poll().requests
    assert (rejected.outcome, rejected.step, rejected.reason) == ("rejected", 9, "\\x07")
    assert (pending.id, pending.outcome) == (other, "pending")


def test_a_request_that_the_run_set_aside_says_why(tmp_path: Path) -> None:
    run = made_run(tmp_path / "a-s0", events(5), state="running")
    folder = run.inbox / "rejected"
    folder.mkdir()
    (folder / "00000000000000000001-abc.json").write_text("{}")
    (folder / "00000000000000000001-abc.json.reason").write_text("not an object with an id\n")
    (found,) = view_of(run).requests
    assert (found.id, found.outcome, found.reason) == ("abc", "rejected", "not an object with an id")


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ({"kind": "set", "changes": {"noise.on": False}}, "noise off"),
        ({"kind": "set", "changes": {"norm.kind": "l1", "optim.lr": 0.05}}, "norm l1, lr 0.05"),
        ({"kind": "set", "changes": {"probes.ics.every": 50}}, "ics every 50"),
        ({"kind": "set", "changes": {"probes.landscape.dense_until": 5}}, "landscape.dense_until 5"),
        ({"kind": "set", "changes": {"noise.n_mu": 1.0}}, "noise.n_mu 1.0"),
        ({"kind": "set", "changes": "x"}, "set"),
        ({"kind": "step", "count": 3}, "step 3"),
        ({"kind": "note", "text": "look\x1b[1m"}, "note: look\\x1b[1m"),
        ({"kind": "pause"}, "pause"),
        ({}, ""),
    ],
)
def test_a_request_in_a_few_words(command: dict[str, object], text: str) -> None:
    assert summary(command) == text


def test_requests_of_a_journal_that_makes_no_sense_are_shown_all_the_same(tmp_path: Path) -> None:
    odd = [
        {"type": "request", "step": 1},
        {"type": "request", "step": 2, "command": "x", "outcome": "applied", "id": 3},
        {"type": "request", "step": 3, "command": {"kind": "set", "changes": 5}, "outcome": "applied"},
        {
            "type": "request",
            "step": 4,
            "command": {"kind": "set", "changes": {"norm.kind": []}},
            "outcome": "applied",
        },
        {
            "type": "request",
            "step": 5,
            "command": {"kind": "set", "changes": {"a..b": 1}},
            "outcome": "applied",
        },
    ]
    view = view_of(made_run(tmp_path / "a-s0", [*events(2), *odd]))
    assert [r.step for r in view.requests] == [1, 2, 3, 4, 5]
    assert view.spec == view.submitted


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("batch-noise-s0", ("batch-noise", 0)),
        ("run-s12", ("run", 12)),
        ("a-s3-s4", ("a-s3", 4)),
        ("batch-s0-fork-1-fork-2", ("batch fork 1 fork 2", 0)),
        ("whatever", ("whatever", 0)),
    ],
)
def test_variant_and_seed_are_in_the_name(name: str, parts: tuple[str, int]) -> None:
    assert variant_and_seed(RunDir(Path("/x") / name)) == parts


def test_columns_as_they_were_share_what_was_put_together(tmp_path: Path) -> None:
    run = made_run(tmp_path / "a-s0", events(5), state="running")
    follower = RunFollower(run, Observer(), Queue())
    first = follower.poll(None).columns
    loss, test = first.series("step", "loss"), first.series("eval", "test_loss")
    journal = Journal(run.journal_file)
    journal.append("step", 5, loss=7.0)
    journal.close()
    second = follower.poll().columns
    assert first.series("step", "loss") is loss
    assert second.series("eval", "test_loss") is test, "nothing of that table was read"
    np.testing.assert_array_equal(second.series("step", "loss").values[:-1], loss.values)


def test_another_run_made_in_the_place_of_one_is_shown_alone(tmp_path: Path) -> None:
    run = made_run(tmp_path / "a-s0", events(3), state="finished")
    follower = RunFollower(run, Observer(), Queue())
    assert follower.poll(None).step == 3
    shutil.rmtree(run.path)
    assert follower.poll().state == "gone"
    other = SMALL.model_copy(update={"optim": Optim(lr=0.5), "steps": 7})
    made_run(tmp_path / "a-s0", events(7, loss=100.0), spec=other, begun=BEGUN + 9)
    view = follower.poll(None)
    series = view.columns.series("step", "loss")
    assert series.steps.tolist() == list(range(7))
    assert (series.values == 100.0).all()
    assert view.submitted is not None and view.submitted.optim.lr == 0.5
    assert view.spec == view.submitted
