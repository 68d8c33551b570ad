"""Requests to a run: applied at their step with old and new value, or rejected with a reason; every kind in every
state."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import orjson
import pytest
from resume.conftest import Undisturbed
from resume.factories import (
    DEEP_LINEAR,
    digest,
    end,
    events,
    make_run,
    start,
    steps_of,
    story,
    train,
    wait_for_state,
    wait_until,
)

from bncore.store import commands, requests
from bncore.store.journal import Journal
from bncore.store.paths import RunDir, list_checkpoints
from bncore.store.status import read_status
from bncore.train.request_source import Requests
from steer.factories import OBSERVED, answers, events_of, finished, steered

KINDS = {
    "set": commands.Set(changes={"optim.lr": 0.005}),
    "stop": commands.Stop(),
    "pause": commands.Pause(),
    "resume": commands.Resume(),
    "step": commands.Step(count=2),
    "checkpoint": commands.Checkpoint(),
    "evaluate": commands.Evaluate(),
    "note": commands.Note(text="remark"),
}


def test_every_kind_of_request_is_tried_here() -> None:
    from bncore.train.handlers import HANDLERS  # noqa: PLC0415 - torch

    elsewhere = {"drop_request", "control"}  # for the dead: test_dropped.py; for observed loops
    assert set(KINDS) == set(HANDLERS) - elsewhere


def test_a_change_is_journaled_with_old_and_new_value(tmp_path: Path) -> None:
    run = finished(tmp_path / "run-s0", DEEP_LINEAR, [(20, {"norm.kind": "l1", "optim.lr": 0.002})])
    (request,) = events_of(run, "request")
    assert request["step"] == 20
    assert request["old"] == {"norm.kind": "batch", "optim.lr": 0.01}
    assert request["new"] == {"norm.kind": "l1", "optim.lr": 0.002}
    assert (request["outcome"], request["reason"]) == ("applied", "")
    rates = [e["lr"] for e in events(run) if e["type"] == "step"]
    assert rates == [0.01] * 20 + [0.002] * 40


def test_it_takes_effect_before_the_update_of_its_step(tmp_path: Path, undisturbed: Undisturbed) -> None:
    plain = undisturbed(DEEP_LINEAR)
    run = finished(tmp_path / "run-s0", DEEP_LINEAR, [(20, {"norm.kind": "none"})])
    before, after = events_of(plain, "step"), events_of(run, "step")
    assert after[:20] == before[:20]
    assert all(one != other for one, other in zip(after[20:], before[20:], strict=True))


def test_a_change_to_what_already_holds_changes_nothing(tmp_path: Path, undisturbed: Undisturbed) -> None:
    run = finished(tmp_path / "run-s0", DEEP_LINEAR, [(20, {"norm.kind": "batch", "optim.lr": 0.01})])
    assert digest(run) == digest(undisturbed(DEEP_LINEAR))


def test_noise_on_and_off_again_disturbs_no_later_draw(tmp_path: Path) -> None:
    on = {"noise.on": True}
    short = finished(tmp_path / "a-s0", DEEP_LINEAR, [(30, on), (31, {"noise.on": False}), (40, on)])
    losses = [e["loss"] for e in events_of(short, "step")]
    again = finished(tmp_path / "b-s0", DEEP_LINEAR, [(30, on), (31, {"noise.on": False}), (40, on)])
    assert losses == [e["loss"] for e in events_of(again, "step")]
    assert len(set(losses)) == len(losses)


def test_cadences_change_from_the_step_on(tmp_path: Path) -> None:
    requested = [(21, {"probes.ics.every": 4}), (41, {"probes.ics.every": 0, "probes.landscape.every": 7})]
    run = finished(tmp_path / "run-s0", OBSERVED, requested)
    measured = {
        name: [e["step"] for e in events_of(run, "probe") if e["name"] == name]
        for name in ("ics", "landscape")
    }
    assert measured["ics"] == [0, 10, 20, 24, 28, 32, 36, 40]
    assert measured["landscape"] == [0, 15, 30, 42, 49, 56]


def test_steering_the_probes_leaves_the_training_as_it_is(tmp_path: Path, undisturbed: Undisturbed) -> None:
    run = finished(
        tmp_path / "run-s0", OBSERVED, [(5, {"probes.ics.every": 3}), (9, {"probes.landscape.every": 2})]
    )
    assert digest(run) == digest(undisturbed(DEEP_LINEAR))


@pytest.mark.parametrize(
    "step", [15, 7, 10, 0, 59], ids=["probe", "checkpoint", "evaluation", "first", "last"]
)
@pytest.mark.parametrize("changes", [{"norm.kind": "l1"}, {"noise.on": True}], ids=["norm", "noise"])
def test_a_toggle_at_a_step_where_much_happens(tmp_path: Path, step: int, changes: dict[str, object]) -> None:
    run = finished(tmp_path / "run-s0", OBSERVED, [(step, changes)])
    assert answers(run) == [(step, "set", "applied")]
    assert not events_of(run, "probe_failed")
    checkpointed = steered(tmp_path / "again-s0", OBSERVED, [(step, changes)])
    requests.send_request(checkpointed, commands.Checkpoint(at_step=step))
    requests.send_request(checkpointed, commands.Stop(at_step=step))
    assert train(checkpointed) == 0  # stops after the change
    assert train(checkpointed) == 0  # and continues from a checkpoint made after it
    told_alike = ("step", "eval", "probe", "finished")
    assert events_of(checkpointed, *told_alike) == events_of(run, *told_alike)


def test_evaluate_evaluates_once_whatever_the_cadence(tmp_path: Path, undisturbed: Undisturbed) -> None:
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)
    for at in (3, 10, 10, 33):
        requests.send_request(run, commands.Evaluate(at_step=at))
    assert train(run) == 0
    assert steps_of(run, "eval") == sorted([*steps_of(undisturbed(DEEP_LINEAR), "eval"), 3, 33])
    assert digest(run) == digest(undisturbed(DEEP_LINEAR))


def test_a_step_that_has_passed_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)
    requests.send_request(run, commands.Pause(at_step=10))
    process = start(run)
    wait_for_state(run, "paused", 10)
    requests.send_request(run, commands.Set(changes={"optim.lr": 0.5}, at_step=9))
    wait_until(lambda: len(answers(run)) == 2, "an answer")
    refused = events_of(run, "request")[-1]
    assert (refused["outcome"], refused["reason"]) == ("rejected", "step 9 has passed: the run is at 10")
    assert refused["old"] is None
    assert refused["new"] is None
    requests.send_request(run, commands.Resume())
    assert end(process) == 0


def test_what_does_not_fit_the_run_is_rejected_with_a_reason(
    tmp_path: Path, undisturbed: Undisturbed
) -> None:
    requested = [(5, {"norm.kind": "instance"}), (6, {"norm.kind": "group", "norm.groups": 8})]
    run = finished(tmp_path / "run-s0", DEEP_LINEAR, requested)
    first, second = events_of(run, "request")
    assert first["outcome"] == second["outcome"] == "rejected"
    assert "norm.kind = 'instance'" in first["reason"]
    assert "norm.groups = 8: expected fewer than the 5 features" in second["reason"]
    assert digest(run) == digest(undisturbed(DEEP_LINEAR))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", ["queued", "running", "paused", "stopped", "killed", "finished"])
def test_every_request_in_every_state(tmp_path: Path, kind: str, state: str) -> None:
    """It is answered once, or waits in the inbox of a run that nobody runs."""
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)
    if state == "finished":
        assert train(run) == 0
        requests.send_request(run, KINDS[kind])
        assert answers(run) == []
        assert len(requests.waiting(run)) == 1
        return
    process = None
    if state == "running":
        requests.send_request(run, KINDS[kind].model_copy(update={"at_step": 20}))
    elif state != "queued":
        requests.send_request(run, commands.Pause(at_step=20))
        process = start(run)
        wait_for_state(run, "paused", 20)
        if state == "stopped":
            requests.send_request(run, commands.Stop())
            assert end(process) == 0
        elif state == "killed":
            process.kill()
            end(process)
    if state != "running":
        requests.send_request(run, KINDS[kind])
    if state != "paused":
        process = start(run)
    assert process is not None
    _bring_to_an_end(run, process)
    final = read_status(run)
    assert final is not None
    assert final.state == "finished"
    requested = [a for a in answers(run) if a[1] == kind]
    stale = kind in ("stop", "pause", "step") and state in ("stopped", "killed")
    mine = [a for a in requested if a[2] == ("rejected" if stale else "applied")]
    assert len(mine) >= 1
    assert not requests.waiting(run)
    ids = [e["id"] for e in events(run) if e["type"] == "request"]
    assert len(ids) == len(set(ids))


def _bring_to_an_end(run: RunDir, process: object) -> None:
    """Resume what pauses and start anew what stops, until the run has finished."""

    def stands() -> bool:
        status = read_status(run)
        return process.exitcode is not None or (status is not None and status.state == "paused")  # type: ignore[attr-defined]

    for _ in range(6):
        wait_until(stands, "a pause or an end")
        if process.exitcode is None:  # type: ignore[attr-defined]
            requests.send_request(run, commands.Resume())
            process.join(0.4)  # type: ignore[attr-defined]
            continue
        if (status := read_status(run)) is not None and status.state == "finished":
            return
        process = start(run)
    raise AssertionError("the run came to no end")


def test_ten_thousand_requests_in_a_burst_are_all_answered_once_and_in_order(
    tmp_path: Path, undisturbed: Undisturbed
) -> None:
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)
    ids = [requests.send_request(run, commands.Note(text=str(n))) for n in range(10_000)]
    assert train(run) == 0
    assert [e["id"] for e in events(run) if e["type"] == "request"] == ids
    assert [e["text"] for e in events(run) if e["type"] == "note"] == [str(n) for n in range(10_000)]
    assert digest(run) == digest(undisturbed(DEEP_LINEAR))
    assert not requests.waiting(run)


@pytest.mark.skipif(os.getuid() != 0, reason="files of other users are made by root only")
def test_who_may_ask(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)

    def from_user(user: int, text: str) -> None:
        requests.send_request(run, commands.Note(text=text))
        os.chown(max(run.inbox.glob("*.json")), user, -1)

    from_user(0, "the owner")
    from_user(12345, "a stranger")
    run.inbox.chmod(0o777)
    from_user(12345, "a stranger where anybody may write")
    assert train(run) == 0
    assert [e["text"] for e in events(run) if e["type"] == "note"] == ["the owner"]
    told_of = [e["text"] for e in events(run) if e["type"] == "warning"]
    assert len(told_of) == 2
    assert all("from 12345, who is neither the owner nor in the inbox's group" in text for text in told_of)
    assert len(list((run.inbox / "rejected").glob("*.json"))) == 2


@pytest.mark.skipif(os.getuid() != 0, reason="files of other users are made by root only")
def test_the_group_of_a_group_writable_inbox_may_ask(tmp_path: Path) -> None:
    import grp  # noqa: PLC0415
    import pwd  # noqa: PLC0415

    person = next((p for p in pwd.getpwall() if p.pw_uid not in (0,) and p.pw_gid != 0), None)
    if person is None:
        pytest.skip("no second user here")
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)
    os.chown(run.inbox, -1, person.pw_gid)
    assert not requests.may_ask(person.pw_uid, run.inbox)
    run.inbox.chmod(0o775)
    assert requests.may_ask(person.pw_uid, run.inbox)
    outside = next(
        g.gr_gid for g in grp.getgrall() if g.gr_gid != person.pw_gid and person.pw_name not in g.gr_mem
    )
    os.chown(run.inbox, -1, outside)
    assert not requests.may_ask(person.pw_uid, run.inbox)


def test_the_author_is_whose_file_it_is(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)
    content = {"id": "x", "author": "somebody important", "command": {"kind": "note", "text": "hello"}}
    (run.inbox / "0-x.json").write_bytes(orjson.dumps(content))
    assert train(run) == 0
    assert [e["author"] for e in events(run) if e["type"] == "request"] == [requests.user_name(os.getuid())]


def test_junk_is_reported_in_the_journal(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)
    (run.inbox / "1-a.json").write_bytes(b"{")
    (run.inbox / "2-b.json").write_bytes(
        orjson.dumps({"id": "b", "command": {"kind": "set", "changes": {"steps": 1}}})
    )
    assert train(run) == 0
    texts = [e["text"] for e in events(run) if e["type"] == "warning"]
    assert [text.split(" set aside")[0] for text in texts] == ["inbox: 1-a.json", "inbox: 2-b.json"]
    assert "'steps' cannot change" in texts[1]


def test_a_run_killed_between_journal_and_inbox_takes_it_once(tmp_path: Path) -> None:
    run = steered(tmp_path / "run-s0", OBSERVED, [(23, {"norm.kind": "l1"}), (23, {"noise.on": True})])
    copies = {p: p.read_bytes() for p in run.inbox.glob("*.json")}
    assert train(run, failpoint="journal.half:40") < 0
    for path, content in copies.items():  # as if it had been killed before the files went
        path.write_bytes(content)
    assert train(run) == 0
    assert story(run) == story(
        finished(tmp_path / "plain-s0", OBSERVED, [(23, {"norm.kind": "l1"}), (23, {"noise.on": True})])
    )
    assert not requests.waiting(run)


def test_a_request_whose_file_cannot_go_is_taken_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)
    requests.send_request(run, commands.Note(text="once"))
    [file] = run.inbox.glob("*.json")
    for _ in range(2):  # the second time the journal has it
        journal = Journal(run.journal_file)
        reported = Requests(run, journal)
        with monkeypatch.context() as held:
            held.setattr(Path, "unlink", refuse)
            reported.poll_inbox()
            reported.poll_inbox()
            reported.reject_rest(0, "the run has finished")
        journal.close()
    assert [e["id"] for e in events(run) if e["type"] == "request"] == [file.stem.split("-")[1]]


def test_a_requested_checkpoint_is_kept(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)
    requests.send_request(run, commands.Checkpoint(at_step=4))
    assert train(run) == 0
    assert 4 in [c.step for c in list_checkpoints(run.checkpoints) if c.why == "kept"]
