"""Several things at one step, and a run that continues from between them: each is done once, in its order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from resume.factories import (
    DEEP_LINEAR,
    SLOW,
    digest,
    end,
    events,
    held_still,
    make_run,
    start,
    states,
    story,
    train,
    wait_for_state,
)

from bncore.config.model import Checkpoints, Evaluation, Optim
from bncore.store import commands, requests
from bncore.store.branch import fork, replay
from bncore.store.lineage import read_lineage
from bncore.store.paths import RunDir
from bncore.store.replay_diff import compare
from bncore.store.status import read_status
from bncore.store.verify import verify
from bncore.train.checkpoint import step_and_digest
from steer.factories import OBSERVED

STEPS = {
    "evaluate": commands.Evaluate(),
    "norm": commands.Set(changes={"norm.kind": "l1"}),
    "back": commands.Set(changes={"norm.kind": "batch"}),
    "noise": commands.Set(changes={"noise.on": True}),
    "note": commands.Note(text="here"),
    "keep": commands.Checkpoint(),
}


def asked_for(run: RunDir, step: int, *names: str) -> RunDir:
    for name in names:
        requests.send_request(run, STEPS[name].model_copy(update={"at_step": step}))
    return run


def without(kind: str, reported: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [e for e in reported if e["type"] != "request" or e["command"]["kind"] != kind]


ORDERS = [
    ("evaluate", "norm"),
    ("norm", "evaluate"),
    ("note", "evaluate", "noise", "note"),
    ("evaluate", "keep", "norm", "evaluate"),
    ("norm", "keep", "back", "evaluate"),
    ("keep", "evaluate", "noise", "keep", "norm", "note"),
]


@pytest.mark.parametrize("step", [13, 14, 20, 0], ids=["", "checkpoint due", "evaluation due", "the first"])
@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_a_run_stopped_behind_what_was_asked_at_one_step_goes_on_from_there(
    tmp_path: Path, order: tuple[str, ...], step: int
) -> None:
    twin = asked_for(make_run(tmp_path / "twin-s0", OBSERVED), step, *order)
    assert train(twin) == 0
    run = asked_for(make_run(tmp_path / "run-s0", OBSERVED), step, *order)
    requests.send_request(run, commands.Stop(at_step=step))
    assert train(run) == 0
    assert read_status(run).state == "stopped"  # type: ignore[union-attr]
    assert train(run) == 0, run.log_file.read_text()
    assert without("stop", story(run)) == story(twin)
    assert digest(run) == digest(twin)
    assert verify(run, step_and_digest) == []
    kept = [e["step"] for e in events(run) if e["type"] == "checkpoint" and "kept" in e["path"]]
    assert len(kept) == order.count("keep")  # none was written again


@pytest.mark.parametrize("order", ORDERS[3:], ids="-".join)
def test_killed_at_any_event_of_that_step_it_ends_alike(tmp_path: Path, order: tuple[str, ...]) -> None:
    twin = asked_for(make_run(tmp_path / "twin-s0", DEEP_LINEAR), 20, *order)
    assert train(twin) == 0
    reported = events(twin)
    first = next(e["seq"] for e in reported if e["step"] == 20)
    last = next(e["seq"] for e in reported if e["step"] == 21)
    for number in range(first, last + 1):
        run = asked_for(make_run(tmp_path / f"{number}-s0", DEEP_LINEAR), 20, *order)
        assert train(run, failpoint=f"journal.half:{number + 1}") < 0
        assert train(run) == 0, run.log_file.read_text()
        assert story(run) == story(twin), number
        assert (digest(run), states(run)) == (digest(twin), states(twin)), number


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_a_fork_from_behind_them_is_the_same_up_to_its_change(tmp_path: Path, order: tuple[str, ...]) -> None:
    parent = asked_for(make_run(tmp_path / "sweep" / "run-s0", OBSERVED), 20, *order, "keep")
    assert train(parent) == 0
    made = fork(parent, at=22, changes={})
    lineage = read_lineage(made)
    assert lineage is not None and lineage.step == 20  # the checkpoint that was requested
    assert train(made) == 0, made.log_file.read_text()
    assert digest(made) == digest(parent)

    def later(run: RunDir) -> list[dict[str, Any]]:
        return [e for e in story(run) if e["step"] > 20]

    assert later(made) == later(parent)
    (again,) = replay([made]).runs()
    assert train(again) == 0
    assert compare(made, again).same, compare(made, again).difference


@pytest.mark.parametrize("step", [20, 23, 24, 27])
@pytest.mark.parametrize("stopped", [True, False], ids=["stopped", "killed"])
def test_a_run_that_tells_few_steps_replays_as_far_as_it_went(
    tmp_path: Path, step: int, stopped: bool
) -> None:
    """Evaluations and measurements lie between the steps that are journaled."""
    spec = OBSERVED.model_copy(
        update={"log_every": 50, "eval": Evaluation(every=8, train_samples=0), "checkpoint": Checkpoints()}
    )
    original = make_run(tmp_path / "sweep" / "run-s0", spec)
    if stopped:
        requests.send_request(original, commands.Stop(at_step=step))
        assert train(original) == 0
    else:
        assert train(original, failpoint=f"journal.half:{step - 8}") < 0
    (again,) = replay([original]).runs()
    assert train(again) == 0, again.log_file.read_text()
    found = compare(original, again)
    assert found.same, found.difference
    if stopped:
        assert read_status(again).step == step  # type: ignore[union-attr]


@pytest.mark.parametrize("state", ["stopped", "paused"])
def test_a_fork_without_a_step_begins_where_such_a_run_stands(tmp_path: Path, state: str) -> None:
    spec = DEEP_LINEAR.model_copy(update={"log_every": 50, "eval": Evaluation(every=0)})
    parent = make_run(tmp_path / "sweep" / "run-s0", spec)
    requests.send_request(parent, (commands.Stop if state == "stopped" else commands.Pause)(at_step=33))
    process = start(parent)
    if state == "paused":
        wait_for_state(parent, "paused", 33)
    else:
        assert end(process) == 0
    lineage = read_lineage(fork(parent, at=33 if state == "paused" else None, changes={"optim.lr": 0.001}))
    assert lineage is not None and lineage.at == 33
    if state == "paused":
        requests.send_request(parent, commands.Resume())
        assert end(process) == 0


def test_what_was_asked_last_is_what_holds_however_little_is_told(tmp_path: Path) -> None:
    spec = DEEP_LINEAR.model_copy(
        update={"log_every": 1000, "eval": Evaluation(every=0), "checkpoint": Checkpoints()}
    )
    run = make_run(tmp_path / "run-s0", spec)
    requests.send_request(run, commands.Set(changes={"optim.lr": 0.02}, at_step=20))
    requests.send_request(run, commands.Note(text="so far", at_step=25))
    assert train(run, failpoint="journal.half:5") < 0  # the note itself, whose request is journaled
    requests.send_request(run, commands.Set(changes={"optim.lr": 0.05}))  # to a run that has stopped hearing
    assert train(run) == 0
    reported = [(e["step"], e["new"]) for e in events(run) if e["type"] == "request" and e["new"]]
    assert reported == [(20, {"optim.lr": 0.02}), (25, {"optim.lr": 0.05})]
    twin = make_run(tmp_path / "twin-s0", spec)
    requests.send_request(twin, commands.Set(changes={"optim.lr": 0.02}, at_step=20))
    requests.send_request(twin, commands.Set(changes={"optim.lr": 0.05}, at_step=25))
    assert train(twin) == 0
    assert digest(run) == digest(twin)


def test_a_fork_of_a_fork_knows_what_held(tmp_path: Path) -> None:
    spec = DEEP_LINEAR.model_copy(update={"checkpoint": Checkpoints(keep=20, every_steps=7, every_minutes=0)})
    parent = make_run(tmp_path / "sweep" / "run-s0", spec)
    requests.send_request(parent, commands.Set(changes={"norm.kind": "l1", "optim.lr": 0.02}, at_step=2))
    assert train(parent) == 0
    first = fork(parent, at=30, changes={"noise.on": True})
    assert train(first) == 0
    second = fork(first, at=50, changes={"norm.kind": "l2", "optim.lr": 0.03, "noise.on": False})
    assert train(second) == 0
    requested = [e for e in events(second) if e["type"] == "request"]
    assert requested[-1]["old"] == {"norm.kind": "l1", "optim.lr": 0.02, "noise.on": True}
    lineage = read_lineage(second)
    assert lineage is not None
    assert lineage.changes == {"norm.kind": "l1", "optim.lr": 0.02, "noise.on": True}


def test_the_replay_of_a_replay_of_a_fork_is_the_fork(tmp_path: Path) -> None:
    parent = make_run(tmp_path / "sweep" / "run-s0", OBSERVED)
    assert train(parent) == 0
    made = fork(parent, at=30, changes={"norm.kind": "l1"})
    assert train(made) == 0
    original = made
    for _ in range(3):
        (again,) = replay([original]).runs()
        assert train(again) == 0
        assert compare(original, again).same, compare(original, again).difference
        assert digest(again) == digest(made)
        original = again


def test_a_fork_that_keeps_a_checkpoint_of_its_first_step_replays(tmp_path: Path) -> None:
    parent = make_run(tmp_path / "sweep" / "run-s0", OBSERVED)
    assert train(parent) == 0
    made = fork(parent, at=49, changes={"noise.on": True})  # where a checkpoint is
    asked_for(made, 49, "evaluate", "norm", "keep", "note")
    requests.send_request(made, commands.Stop(at_step=49))
    assert train(made) == 0
    assert train(made) == 0
    (again,) = replay([made]).runs()
    assert train(again) == 0
    assert compare(made, again).same, compare(made, again).difference
    assert digest(again) == digest(made)


@pytest.mark.parametrize("kind", ["stop", "pause", "step"])
def test_what_would_halt_an_earlier_process_does_not_halt_the_next_and_it_replays(
    tmp_path: Path, kind: str
) -> None:
    halt = {"stop": commands.Stop(), "pause": commands.Pause(), "step": commands.Step(count=3)}[kind]
    run = make_run(tmp_path / "sweep" / "run-s0", DEEP_LINEAR)
    requests.send_request(run, commands.Set(changes={"optim.lr": 0.005}, at_step=33))
    assert train(run, failpoint="journal.half:45") < 0
    requests.send_request(run, halt)
    assert train(run) == 0
    assert read_status(run).state == "finished"  # type: ignore[union-attr]
    (again,) = replay([run]).runs()
    assert train(again) == 0
    assert compare(run, again).same, compare(run, again).difference


def test_a_stop_is_heard_while_a_run_makes_again_what_it_has_told(tmp_path: Path) -> None:
    spec = SLOW.model_copy(update={"checkpoint": Checkpoints()})
    run = make_run(tmp_path / "run-s0", spec)
    assert train(run, failpoint="journal.half:200") < 0
    requests.send_request(run, commands.Stop(at_step=50))
    requests.send_request(
        run, commands.Set(changes={"optim.lr": 2e-4}, at_step=40)
    )  # which would change what was journaled
    assert train(run) == 0
    status = read_status(run)
    assert status is not None and (status.state, status.step) == ("stopped", 50)
    assert train(run) == 0
    reported = {
        e["command"]["kind"]: (e["step"], e["outcome"]) for e in events(run) if e["type"] == "request"
    }
    assert reported["stop"] == (50, "applied")
    assert reported["set"][1] == "rejected"  # its step had passed
    assert digest(run) == digest_of(tmp_path / "twin-s0", spec)


def digest_of(path: Path, spec: Any) -> str:
    run = make_run(path, spec)
    assert train(run) == 0
    return digest(run)


def test_single_steps_that_were_left_are_not_made_later(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)
    requests.send_request(run, commands.Pause(at_step=10))
    process = start(run)
    wait_for_state(run, "paused", 10)
    with held_still(process.pid or 0):
        for command in (commands.Step(count=40), commands.Resume(), commands.Step(count=2)):
            requests.send_request(run, command)
    wait_for_state(run, "paused", 12)
    requests.send_request(run, commands.Resume())
    assert end(process) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"norm": {"kind": "l1"}},
        {"noise": {}},
        {"probes.ics": {"every": 1}},
        {"": 1},
        {"norm.": 1},
        {"optim": None},
    ],
)
def test_a_table_in_the_place_of_a_value_is_set_aside(tmp_path: Path, changes: dict[str, Any]) -> None:
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)
    content = {"id": "x", "author": "a", "command": {"kind": "set", "at_step": None, "changes": changes}}
    (run.inbox / "0-x.json").write_bytes(orjson.dumps(content))
    assert train(run) == 0
    assert [p.name for p in (run.inbox / "rejected").glob("*.json")] == ["0-x.json"]
    assert any("cannot change" in e["text"] for e in events(run) if e["type"] == "warning")


def test_a_request_that_nobody_thought_of_is_rejected_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bncore.train.handlers import HANDLERS  # noqa: PLC0415 - torch

    def stumble(*_: object) -> None:
        raise ZeroDivisionError("of all things")

    row = HANDLERS["note"]._replace(answer=stumble)  # type: ignore[arg-type]
    monkeypatch.setitem(HANDLERS, "note", row)
    from bncore.train import worker  # noqa: PLC0415 - torch
    from bncore.train.control import Signals  # noqa: PLC0415 - torch

    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)
    requests.send_request(run, commands.Note(text="x"))
    assert worker.main([str(run.path)], signals=Signals()) == 0
    (reported,) = [e for e in events(run) if e["type"] == "request"]
    assert (reported["outcome"], reported["reason"]) == ("rejected", "ZeroDivisionError: of all things")


@pytest.mark.parametrize("lr", [0.01, 1e38])
def test_a_run_that_has_ended_is_left_as_it_is(tmp_path: Path, lr: float) -> None:
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR.model_copy(update={"optim": Optim(lr=lr)}))
    assert train(run) == 0
    before, status = run.journal_file.read_bytes(), read_status(run)
    assert status is not None
    assert train(run) == 0
    again = read_status(run)
    assert again is not None
    assert (run.journal_file.read_bytes(), again.state, again.step) == (before, status.state, status.step)


def test_a_run_that_goes_on_elsewhere_says_so_and_is_not_comparable(tmp_path: Path) -> None:
    run = make_run(tmp_path / "sweep" / "run-s0", DEEP_LINEAR)
    requests.send_request(run, commands.Stop(at_step=30))
    assert train(run) == 0
    meta = orjson.loads(run.meta_file.read_bytes())
    assert not any("environment" in e["text"] for e in events(run) if e["type"] == "warning")
    run.meta_file.write_bytes(orjson.dumps(meta | {"versions": meta["versions"] | {"torch": "2.0"}}))
    assert train(run) == 0
    (said,) = [e for e in events(run) if e["type"] == "warning"]
    here = meta["versions"]["torch"]
    assert said["text"] == f"continues in another environment: versions.torch: 2.0 then, {here} now"
    (again,) = replay([run]).runs()
    assert train(again) == 0
    found = compare(run, again)
    assert (found.same, found.comparable) == (True, False)


def test_a_lineage_that_makes_no_sense_is_no_sound_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)
    assert train(run) == 0
    run.lineage_file.write_text('{"kind": "fork"}')
    assert verify(run, step_and_digest) == [f"{run.lineage_file}: not the lineage of a run"]


def test_an_old_request_to_go_on_undoes_no_later_pause(tmp_path: Path) -> None:
    """As a run that ended while requests came leaves it: it is taken first, where nothing is paused."""
    run = make_run(tmp_path / "run-s0", SLOW)
    requests.send_request(run, commands.Resume())
    requests.send_request(run, commands.Pause(at_step=30))
    process = start(run)
    wait_for_state(run, "paused", 30)
    requests.send_request(run, commands.Resume())
    assert end(process) == 0
    requested = [
        (e["step"], e["command"]["kind"], e["outcome"]) for e in events(run) if e["type"] == "request"
    ]
    assert requested == [(0, "resume", "applied"), (30, "pause", "applied"), (30, "resume", "applied")]
