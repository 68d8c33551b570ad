"""A run that a request killed resumes without it, and is then as one that was never sent it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from cli.factories import bnrun
from resume.factories import DEEP_LINEAR, digest, events, make_run, story, train

from bncore.store import commands, requests
from bncore.store.branch import fork, replay
from bncore.store.dropped_requests import in_effect, why_not
from bncore.store.journal import Journal
from bncore.store.paths import RunDir, list_checkpoints
from bncore.store.replay_diff import compare
from bncore.store.verify import verify
from bncore.train import checkpoint
from bncore.train.checkpoint import step_and_digest
from steer.factories import answers
from steer.test_tried import IMPOSSIBLE, ONE_SAMPLE

KILLER = "abcdef0123456789" * 2


def killed_by(path: Path, step: int, *, evaluated: bool = False) -> RunDir:
    """A run as an older program left it: a request journaled as applied, and no update after it."""
    run = make_run(path, ONE_SAMPLE)
    (path.parent / "sweep.toml").write_text("")
    requests.send_request(run, commands.Stop(at_step=step))
    assert train(run) == 0
    journal = Journal(run.journal_file)
    journal.append(
        "request", step, id=KILLER, author="somebody",
        command={"kind": "set", "at_step": None, "changes": IMPOSSIBLE},
        outcome="applied", old={"norm.kind": "none"}, new=IMPOSSIBLE, reason="",
    )  # fmt: skip
    if evaluated:
        journal.append("eval", step, train_loss=9.0, test_loss=9.0)
    journal.close()
    return run


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """Never requested it."""
    run = make_run(tmp_path_factory.mktemp("sweep") / "twin-s0", ONE_SAMPLE)
    assert train(run) == 0
    return run


def without_requests(run: RunDir) -> list[dict[str, Any]]:
    return [event for event in story(run) if event["type"] != "request"]


@pytest.mark.parametrize("step", [0, 5, 8])
def test_it_is_resumed_without_it(tmp_path: Path, twin: RunDir, step: int) -> None:
    run = killed_by(tmp_path / "sweep" / "run-s0", step)
    assert train(run) == 1
    said = run.log_file.read_text()
    requests.send_request(run, commands.DropRequest(request=KILLER))
    assert train(run) == 0, said + run.log_file.read_text()
    assert digest(run) == digest(twin)
    assert answers(run)[-1] == (step, "drop_request", "applied")
    assert without_requests(run) == without_requests(twin)
    assert verify(run, step_and_digest) == []


def test_an_evaluation_under_it_is_made_anew(tmp_path: Path, twin: RunDir) -> None:
    run = killed_by(tmp_path / "sweep" / "run-s0", 5, evaluated=True)
    requests.send_request(run, commands.DropRequest(request=KILLER))
    assert train(run, failpoint="journal.half:12") < 0  # and again when it is resumed once more
    assert train(run) == 0, run.log_file.read_text()
    assert digest(run) == digest(twin)
    assert [e["type"] for e in in_effect(events(run))].count("eval") == 1


def test_a_checkpoint_that_holds_it_is_set_aside(tmp_path: Path, twin: RunDir) -> None:
    run = killed_by(tmp_path / "sweep" / "run-s0", 5)
    newest = list_checkpoints(run.checkpoints)[-1]
    _, state = checkpoint.load(newest.path)
    state |= {"requests": [KILLER], "changes": IMPOSSIBLE}
    state["net"] = {name: value + 1 for name, value in state["net"].items()}
    checkpoint.save(run.checkpoints, 5, state, requested=True)
    requests.send_request(run, commands.DropRequest(request=KILLER))
    assert train(run) == 0, run.log_file.read_text()
    assert digest(run) == digest(twin)


def test_forks_and_replays_know_nothing_of_it(tmp_path: Path) -> None:
    run = killed_by(tmp_path / "sweep" / "run-s0", 5)
    requests.send_request(run, commands.DropRequest(request=KILLER))
    assert train(run) == 0
    branch = fork(run, at=8, changes={})
    (again,) = replay([run]).runs()
    for made in (branch, again):
        assert train(made) == 0, made.log_file.read_text()
        assert digest(made) == digest(run)
        assert not answers(made) or {kind for _, kind, _ in answers(made)} == {"stop"}
    assert compare(run, again).same, compare(run, again).difference


def test_what_a_run_has_trained_with_cannot_be_dropped(tmp_path: Path) -> None:
    run = make_run(tmp_path / "sweep" / "run-s0", DEEP_LINEAR)
    ident = requests.send_request(run, commands.Set(changes={"optim.lr": 0.02}, at_step=20))
    requests.send_request(run, commands.Stop(at_step=30))
    assert train(run) == 0
    before = [e["type"] for e in events(run)]
    requests.send_request(run, commands.DropRequest(request=ident))
    assert "bnrun fork --at 20" in why_not(events(run), ident)
    assert "no change of settings" in why_not(events(run), "unknown")
    assert train(run) == 0
    assert ("drop_request", "rejected") in [(kind, outcome) for _, kind, outcome in answers(run)]
    assert before == [e["type"] for e in events(run)][: len(before)]


def test_a_live_run_is_not_asked_for_it(tmp_path: Path) -> None:
    run = make_run(tmp_path / "sweep" / "run-s0", DEEP_LINEAR)
    requests.send_request(run, commands.DropRequest(request="unknown", at_step=20))
    assert train(run) == 0
    assert [(kind, outcome) for _, kind, outcome in answers(run)] == [("drop_request", "rejected")]


def test_the_command_line_drops_it_and_says_how(tmp_path: Path, twin: RunDir) -> None:
    run = killed_by(tmp_path / "runs" / "sweep" / "run-s0", 5)
    failed = bnrun("resume", "sweep/run-s0", cwd=tmp_path)
    assert failed.returncode == 1
    assert f"bnrun resume --drop-request {KILLER[:8]}" in failed.stderr
    unknown = bnrun("resume", "sweep/run-s0", "--drop-request", "0000", cwd=tmp_path)
    assert unknown.returncode == 2
    assert "no change of settings with id 0000" in unknown.stderr
    assert not list(run.inbox.glob("*.json"))
    done = bnrun("resume", "sweep/run-s0", "--drop-request", KILLER[:8], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert digest(run) == digest(twin)
    shutil.rmtree(run.path.parent)


def behind_it(run: RunDir, step: int) -> None:
    """Journal, behind the request that kills the run, an evaluation under it and a note: as that run would."""
    giver = make_run(run.path.parent / "giver-s0", ONE_SAMPLE)
    requests.send_request(giver, commands.Evaluate(at_step=step))
    requests.send_request(giver, commands.Note(text="behind it", at_step=step))
    assert train(giver) == 0
    given = [e for e in events(giver) if e["step"] == step and e["type"] in ("request", "eval", "note")]
    assert [e["type"] for e in given].index("eval") < len(given) - 1, "or nothing is behind it"
    journal = Journal(run.journal_file)
    for event in given:
        fields = {key: value for key, value in event.items() if key not in ("seq", "t", "type", "step")}
        under_it = {"train_loss": 9.0, "test_loss": 9.0} if event["type"] == "eval" else {}
        journal.append(event["type"], step, **(fields | under_it))
    journal.close()


@pytest.mark.parametrize("failpoint", ["", *(f"journal.half:{n}" for n in range(1, 15))])
def test_an_evaluation_under_it_with_a_note_behind_is_made_anew(tmp_path: Path, failpoint: str) -> None:
    run = killed_by(tmp_path / "sweep" / "run-s0", 5)
    behind_it(run, 5)
    requests.send_request(run, commands.DropRequest(request=KILLER))
    if failpoint:
        assert train(run, failpoint=failpoint) < 0
    assert train(run) == 0, run.log_file.read_text()
    giver = RunDir(run.path.parent / "giver-s0")
    assert digest(run) == digest(giver)
    kinds = [event["type"] for event in without_requests(run)]
    found = [e for e in in_effect(events(run)) if e["type"] in ("eval", "note")]
    other = [e for e in events(giver) if e["type"] in ("eval", "note")]
    assert [(e["type"], e["step"], e.get("test_loss")) for e in found] == [
        (e["type"], e["step"], e.get("test_loss")) for e in other
    ]
    assert kinds.count("eval") == [e["type"] for e in events(giver)].count("eval") + 1, (
        "the superseded one stays"
    )
    assert verify(run, step_and_digest) == []
    assert train(run) == 0
