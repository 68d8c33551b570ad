"""Runs requested to do anything, anywhere, stopped and killed anywhere: they end like one left alone, they
replay, and their forks are what they were up to the change. A handful of them; hundreds are slow."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from resume.factories import SPARSE, digest, events, make_run, start, story, train

from bncore.config.model import Checkpoints, Evaluation, Noise, Spec
from bncore.config.probes import Probes
from bncore.store import commands, requests
from bncore.store.branch import fork, replay
from bncore.store.journal import REPLAYED_EVENTS
from bncore.store.lineage import read_lineage
from bncore.store.paths import RunDir
from bncore.store.replay_diff import compare
from bncore.store.status import read_status
from bncore.store.verify import verify
from bncore.train.checkpoint import step_and_digest, usable
from steer.factories import CHANGES, OBSERVED

FEW, MANY = range(4), range(4, 204)
LEFT_ALONE = 6
"""Times that a run is started and may be killed; after that it is left alone."""


def a_spec(chance: random.Random) -> Spec:
    """A run of sixty steps that tells much or little, and keeps many checkpoints or few."""
    return OBSERVED.model_copy(
        update={
            "log_every": chance.choice([1, 3, 50]),
            "eval": Evaluation(every=chance.choice([0, 8, 10]), train_samples=0),
            "checkpoint": Checkpoints(
                every_steps=chance.choice([0, 5, 7]), keep=chance.choice([1, 2, 20]), every_minutes=0
            ),
            "probes": chance.choice([OBSERVED.probes, Probes()]),
            "noise": Noise(on=chance.random() < 0.5),
            "optim": chance.choice([OBSERVED.optim, SPARSE.optim]),
            "precision": chance.choice(["float32", "float64"]),
        }
    )


def some_requests(chance: random.Random) -> list[commands.Command]:
    """Up to ten requests, many of them at the same few steps, so that much happens between two updates."""
    places = chance.sample(range(60), 3)
    found: list[commands.Command] = []
    for _ in range(chance.randrange(11)):
        at = chance.choice(places)
        kind = chance.choice(
            [commands.Evaluate, commands.Checkpoint, commands.Note, commands.Set, commands.Set]
        )
        extra: dict[str, Any] = {}
        if kind is commands.Note:
            extra["text"] = chance.choice(["here", "there"])
        if kind is commands.Set:
            extra["changes"] = chance.choice(CHANGES)
        found.append(kind(at_step=at, **extra))
    return found


def ask(run: RunDir, commands: list[commands.Command]) -> RunDir:
    for command in commands:
        requests.send_request(run, command)
    return run


def brought_to_its_end(run: RunDir, chance: random.Random) -> None:
    """Start it until it has finished, killing it now and then on the way."""
    for attempt in range(20):
        point = chance.choice(["journal.half", "journal.half", "checkpoint.half", "checkpoint.rename"])
        most = 120 if point == "journal.half" else 8
        failpoint = f"{point}:{chance.randrange(1, most)}" if attempt < LEFT_ALONE else ""
        code = train(run, failpoint=failpoint, ahead=chance.choice([1, 64]))
        assert code == 0 or (failpoint and code < 0), run.log_file.read_text()
        status = read_status(run)
        if status is not None and status.state in ("finished", "diverged"):
            return
    raise AssertionError("it came to no end")


def events_of(run: RunDir, kind: str = "") -> list[dict[str, Any]]:
    return [e for e in story(run) if e["type"] != "request" or e["command"]["kind"] != kind]


def check(folder: Path, seed: int) -> None:
    chance = random.Random(seed)
    spec, requested = a_spec(chance), some_requests(chance)
    twin = ask(make_run(folder / "twin" / "run-s0", spec), requested)
    assert train(twin) == 0, twin.log_file.read_text()
    stops: list[commands.Command] = [
        commands.Stop(at_step=chance.randrange(60)) for _ in range(chance.randrange(4))
    ]
    run = ask(make_run(folder / "sweep" / "run-s0", spec), chance.sample(stops, len(stops)) + requested)
    brought_to_its_end(run, chance)
    assert events_of(run, "stop") == events_of(twin)
    assert digest(run) == digest(twin)
    assert verify(run, step_and_digest) == []
    replays_alike(run, chance)
    at = chance.randrange(60)
    made = fork(run, at=at, changes=chance.choice(CHANGES), follow=chance.random() < 0.5, usable=usable)
    brought_to_its_end(made, chance)
    same_up_to(at, made, run)
    replays_alike(made, chance)
    after = chance.randrange(at, 60)
    again = fork(made, at=after, changes=chance.choice(CHANGES), usable=usable)
    brought_to_its_end(again, chance)
    same_up_to(after, again, made)
    replays_alike(again, chance)


def replays_alike(run: RunDir, chance: random.Random) -> None:
    (again,) = replay([run], usable=usable).runs()
    brought_to_its_end(again, chance)
    found = compare(run, again)
    assert found.same, found.difference
    assert digest(again) == digest(run)
    assert verify(again, step_and_digest) == []


def same_up_to(step: int, made: RunDir, parent: RunDir) -> None:
    """What a fork tells of its own steps before the change is what its parent tells."""
    lineage = read_lineage(made)
    assert lineage is not None
    first = lineage.step

    def before(run: RunDir) -> list[dict[str, Any]]:
        remade = [e for e in events(run) if e["type"] in REPLAYED_EVENTS and e["type"] != "note"]
        return [
            {k: v for k, v in e.items() if k not in ("seq", "t")} for e in remade if first < e["step"] < step
        ]

    assert before(made) == before(parent)


def by_hand(folder: Path, seed: int) -> None:
    """A run steered while it is under way, without a step being named, and killed meanwhile."""
    chance = random.Random(seed)
    spec = a_spec(chance).model_copy(update={"steps": 400})
    run = make_run(folder / "sweep" / "run-s0", spec)
    requested = [
        *(commands.Set(changes=changes) for changes in CHANGES),
        *(commands.Evaluate(), commands.Checkpoint(), commands.Note(text="here"), commands.Stop()),
        *(commands.Pause(), commands.Step(count=3), commands.Resume()),
    ]
    kills = chance.randrange(4)
    for _ in range(200):
        process = start(run, ahead=chance.choice([1, 64]))
        while process.exitcode is None:
            status = read_status(run)
            paused = status is not None and status.state == "paused"
            requests.send_request(run, commands.Resume() if paused else chance.choice(requested))
            process.join(chance.uniform(0, 0.1))
            if kills and chance.random() < 0.1:
                kills -= 1
                process.kill()
                process.join()
        assert process.exitcode in (0, -9), run.log_file.read_text()
        status = read_status(run)
        if status is not None and status.state in ("finished", "diverged"):
            break
    else:
        raise AssertionError("it came to no end")
    assert verify(run, step_and_digest) == []
    ids = [e["id"] for e in events(run) if e["type"] == "request"]
    assert len(ids) == len(set(ids))
    replays_alike(run, chance)


@pytest.mark.parametrize("seed", range(1))
def test_steered_by_hand(tmp_path: Path, seed: int) -> None:
    by_hand(tmp_path, seed)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_steered_by_hand_at_length(tmp_path: Path) -> None:
    for seed in range(1, 51):
        by_hand(tmp_path / str(seed), seed)


@pytest.mark.parametrize("seed", FEW)
def test_anything_anywhere(tmp_path: Path, seed: int) -> None:
    check(tmp_path, seed)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(10))
def test_anything_anywhere_at_length(tmp_path: Path, part: int) -> None:
    for seed in MANY:
        if seed % 10 == part:
            check(tmp_path / str(seed), seed)
