"""A checkpoint says which events of the journal are in it: the run that makes just those is in its state."""

from __future__ import annotations

import random
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest
from resume.factories import DEEP_LINEAR, digest, events, make_run, steps_of, story, train

from bncore.config.model import Checkpoints
from bncore.config.toml import resolved_spec_from_toml
from bncore.store import commands, requests
from bncore.store.branch import fork, replay, updates_begun
from bncore.store.journal import REPLAYED_EVENTS
from bncore.store.paths import CheckpointFile, RunDir, list_checkpoints
from bncore.store.replay_diff import compare
from bncore.train import checkpoint
from bncore.train.request_source import ResumePoint
from steer.test_boundary import ORDERS, asked_for
from steer.test_random_steering import a_spec, ask, brought_to_its_end, some_requests

TOLD = REPLAYED_EVENTS | {"request"}


def held_by(one: CheckpointFile) -> tuple[ResumePoint, dict[str, Any]]:
    step, state = checkpoint.load(one.path)
    point = ResumePoint(
        step, state["changes"], tuple(state["requests"]), state["evaluated"], copied=one.why == "parent"
    )
    return point, state


def made_of(told: list[dict[str, Any]], run: RunDir, path: Path, step: int) -> RunDir:
    """A run that makes these events of another one again from the beginning, and stops at a step."""
    made = make_run(path, resolved_spec_from_toml(run.spec_file))
    lines = [orjson.dumps(event | {"seq": seq}) + b"\n" for seq, event in enumerate(told)]
    made.journal_file.write_bytes(b"".join(lines))
    requests.send_request(made, commands.Stop(at_step=step))
    assert train(made) == 0, made.log_file.read_text()
    return made


def assert_each_checkpoint_is_what_its_events_make(run: RunDir, folder: Path) -> None:
    told, number = events(run), count()
    for one in list_checkpoints(run.checkpoints):
        if one.step == resolved_spec_from_toml(run.spec_file).steps:
            continue  # a run does not stop there: it finishes
        point, state = held_by(one)
        ahead = {event["seq"] for event in point.events_ahead(told)}
        inside = [event for event in told if event["seq"] not in ahead]
        assert [e for e in inside if e["type"] in REPLAYED_EVENTS and e["step"] > one.step] == []
        at = [e["type"] for e in inside if e["step"] == one.step and e["type"] in REPLAYED_EVENTS]
        assert at.count("eval") == len(at) - at.count("note") == state["evaluated"]
        known = [e for e in inside if e["type"] != "request" or e["command"]["kind"] != "stop"]
        made = made_of(known, run, folder / f"{next(number)}-s0", one.step)
        stop = next(e["id"] for e in events(made)[len(known) :] if e["type"] == "request")
        assert [e for e in events(made)[len(known) :] if e["type"] in TOLD and e.get("id") != stop] == []
        (_, same), *_ = [
            held_by(c) for c in list_checkpoints(made.checkpoints) if c.step == one.step and not c.why
        ]
        for key in state.keys() - {"requests"}:
            assert checkpoint.content_sha256(same[key]) == checkpoint.content_sha256(state[key]), (
                one.path,
                key,
            )


@pytest.mark.parametrize("order", ORDERS[2:], ids="-".join)
def test_every_checkpoint_of_a_steered_run(tmp_path: Path, order: tuple[str, ...]) -> None:
    spec = DEEP_LINEAR.model_copy(update={"checkpoint": Checkpoints(every_steps=20, keep=9, every_minutes=0)})
    run = asked_for(make_run(tmp_path / "run-s0", spec), 20, *order, "keep")
    assert train(run, failpoint="journal.half:40") < 0
    asked_for(run, 30, *order, "keep")
    assert train(run) == 0, run.log_file.read_text()
    assert_each_checkpoint_is_what_its_events_make(run, tmp_path / "made")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_checkpoint_of_runs_that_were_steered_and_killed_anywhere(tmp_path: Path) -> None:
    for seed in range(20):
        chance, folder = random.Random(seed), tmp_path / str(seed)
        spec = a_spec(chance).model_copy(
            update={"checkpoint": Checkpoints(every_steps=12, keep=9, every_minutes=0)}
        )
        run = ask(make_run(folder / "run-s0", spec), some_requests(chance))
        brought_to_its_end(run, chance)
        assert_each_checkpoint_is_what_its_events_make(run, folder / "made")


def test_a_fork_holds_nothing_of_its_own_journal_in_its_parents_state(tmp_path: Path) -> None:
    """A note was made in the parent's state, another in the fork; killed before its first own checkpoint."""
    parent = asked_for(make_run(tmp_path / "sweep" / "run-s0", DEEP_LINEAR), 20, "note", "keep")
    assert train(parent) == 0
    made = fork(parent, at=22, changes={})
    requests.send_request(made, commands.Note(text="own", at_step=20))
    assert train(made, failpoint="journal.half:8") < 0
    assert train(made) == 0, made.log_file.read_text()
    assert steps_of(made, "note") == [20]
    assert digest(made) == digest(parent)
    assert [e for e in story(made) if e["step"] > 20] == [e for e in story(parent) if e["step"] > 20]


def test_a_replay_makes_the_evaluation_that_an_earlier_process_had_come_to(tmp_path: Path) -> None:
    """Killed behind the evaluation at 20, the run then stops in front of it."""
    original = make_run(tmp_path / "sweep" / "run-s0", DEEP_LINEAR)
    assert train(original, failpoint="journal.half:27") < 0
    assert steps_of_whole(original)[-1] == ("eval", 20)
    requests.send_request(original, commands.Stop(at_step=20))
    assert train(original) == 0
    (again,) = replay([original]).runs()
    assert train(again) == 0
    assert compare(original, again).same, compare(original, again).difference


def steps_of_whole(run: RunDir) -> list[tuple[str, int]]:
    lines = run.journal_file.read_bytes().split(b"\n")[:-1]
    return [(e["type"], e["step"]) for e in map(orjson.loads, lines)]


EVALUATE = {"type": "request", "outcome": "applied", "command": {"kind": "evaluate"}, "step": 8}


@pytest.mark.parametrize(
    ("told", "begun"),
    [
        ([], 0),
        ([{"type": "start", "step": 0}], 0),
        ([{"type": "eval", "step": 0}], 1),
        ([{"type": "step", "step": 7}, {"type": "checkpoint", "step": 8}], 8),
        ([{"type": "probe", "step": 8}], 9),
        ([{"type": "step", "step": 7}, EVALUATE, {"type": "eval", "step": 8}], 8),
        ([{"type": "step", "step": 7}, EVALUATE | {"outcome": "rejected"}, {"type": "eval", "step": 8}], 9),
        ([{"type": "eval", "step": 8}, {"type": "start", "step": 5}], 9),
    ],
)
def test_updates_begun(told: list[dict[str, Any]], begun: int) -> None:
    assert updates_begun(told) == begun
