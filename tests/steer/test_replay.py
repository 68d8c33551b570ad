"""A run steered by hand, replayed from its journal, ends with the same digest (architecture.md, invariant
3)."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import orjson
import pytest
from resume.factories import (
    DEEP_LINEAR,
    SPARSE,
    digest,
    end,
    events,
    held_still,
    make_run,
    start,
    train,
    wait_for_state,
    wait_until,
)

from bncore.store import commands, requests
from bncore.store.branch import BranchError, replay, updates_begun
from bncore.store.journal import read_events
from bncore.store.paths import RunDir, read_sweep
from bncore.store.replay_diff import compare
from bncore.store.status import read_status
from steer.factories import CHANGES, OBSERVED, SLOW_OBSERVED, answers, events_of, finished, steered


def replayed(original: RunDir) -> RunDir:
    """A replay of a run, trained to its end."""
    (run,) = replay([original]).runs()
    assert train(run) == 0, run.log_file.read_text()
    return run


@pytest.mark.parametrize("spec", [OBSERVED, SPARSE], ids=["observed", "sparse"])
def test_a_steered_run_replays_to_the_same_digest(tmp_path: Path, spec: object) -> None:
    requested = [(3 + 4 * i, changes) for i, changes in enumerate(CHANGES)]
    original = finished(tmp_path / "sweep" / "run-s0", spec, requested)  # type: ignore[arg-type]
    again = replayed(original)
    found = compare(original, again)
    assert found.same, found.difference
    assert found.comparable
    assert digest(again) == digest(original)
    everything = ("step", "eval", "probe", "request", "note", "finished")
    assert events_of(again, *everything) == events_of(original, *everything)


def test_steered_live_paused_stopped_killed_and_resumed_it_still_replays(tmp_path: Path) -> None:
    run = make_run(tmp_path / "sweep" / "run-s0", SLOW_OBSERVED)
    requests.send_request(run, commands.Pause(at_step=40))
    process = start(run)
    wait_for_state(run, "paused", 40)
    requests.send_request(run, commands.Set(changes={"norm.kind": "l1"}))
    requests.send_request(run, commands.Step(count=3))
    wait_for_state(run, "paused", 43)
    requests.send_request(run, commands.Note(text="look"))
    requests.send_request(run, commands.Evaluate())
    requests.send_request(run, commands.Resume())
    wait_until(lambda: updates_begun(read_events(run.journal_file)) > 60, "some steps")
    assert process.pid is not None
    with held_still(process.pid):
        requests.send_request(
            run, commands.Set(changes={"noise.on": True})
        )  # taken wherever it happens to be
    wait_until(lambda: ("set", "applied") in [a[1:] for a in answers(run)[4:]], "the noise")
    process.kill()
    end(process)
    process = start(run)
    requests.send_request(run, commands.Set(changes={"optim.lr": 5e-5}))
    requests.send_request(run, commands.Stop(at_step=280))
    assert end(process) == 0
    assert train(run) == 0
    again = replayed(run)
    found = compare(run, again)
    assert found.same, found.difference
    assert digest(again) == digest(run)
    assert [e["id"] for e in events_of(again, "request")] == [e["id"] for e in events_of(run, "request")]


def test_a_stopped_run_replays_as_far_as_it_went(tmp_path: Path) -> None:
    run = steered(tmp_path / "sweep" / "run-s0", OBSERVED, [(10, {"norm.kind": "l1"})])
    requests.send_request(run, commands.Stop(at_step=33))
    assert train(run) == 0
    again = replayed(run)
    status = read_status(again)
    assert status is not None
    assert (status.state, status.step) == ("stopped", 33)
    found = compare(run, again)
    assert found.same, found.difference
    assert found.digests == (None, None)


def test_what_came_too_late_came_too_late_again(tmp_path: Path) -> None:
    original = finished(tmp_path / "sweep" / "run-s0", DEEP_LINEAR, [(99, {"norm.kind": "l1"})])
    assert answers(original) == [(60, "set", "rejected")]
    assert compare(original, replayed(original)).same


def test_the_replay_of_a_part_of_a_sweep_keeps_its_names_and_order(tmp_path: Path) -> None:
    sweep = tmp_path / 'bob\'s "best"'
    runs = [finished(sweep / name, DEEP_LINEAR, []) for name in ("b-s0", "a-s0", "c-s0")]
    again = replay(runs[:2])
    assert [run.path.name for run in again.runs()] == ["b-s0", "a-s0"]
    assert read_sweep(again) == {"notes": [f"replay of {sweep.name}"], "queue": ["b-s0", "a-s0"]}


def test_a_diverged_run_replays(tmp_path: Path) -> None:
    run = steered(
        tmp_path / "sweep" / "run-s0", DEEP_LINEAR, [(10, {"optim.lr": 1e38}), (50, {"noise.on": True})]
    )
    assert train(run) == 0
    assert events_of(run, "finished")[0]["state"] == "diverged"
    again = replayed(run)
    assert compare(run, again).same
    assert digest(again) == digest(run)


def test_a_killed_replay_resumes_and_ends_alike(tmp_path: Path) -> None:
    requested = [(9, {"norm.kind": "l1"}), (9, {"noise.on": True}), (30, {"norm.kind": "none"})]
    original = finished(tmp_path / "sweep" / "run-s0", OBSERVED, requested)
    (run,) = replay([original]).runs()
    assert train(run, failpoint="journal.half:30") < 0
    assert train(run, failpoint="journal.half:70") < 0
    assert train(run) == 0
    assert compare(original, run).same


def test_a_replay_listens_but_lets_nobody_change_what_it_repeats(tmp_path: Path) -> None:
    original = finished(tmp_path / "sweep" / "run-s0", OBSERVED, [(9, {"norm.kind": "l1"})])
    (run,) = replay([original]).runs()
    requests.send_request(run, commands.Set(changes={"optim.lr": 1.0}, at_step=20))
    requests.send_request(run, commands.Checkpoint(at_step=21))
    requests.send_request(run, commands.Pause(at_step=30))
    process = start(run)
    wait_for_state(run, "paused", 30)
    requests.send_request(run, commands.Resume())
    assert end(process) == 0
    refused = [e for e in events_of(run, "request") if e["outcome"] == "rejected"]
    assert [e["reason"] for e in refused] == ["a replay accepts only the requests of the run that it repeats"]
    assert compare(original, run).same


def test_a_difference_is_found_and_named(tmp_path: Path) -> None:
    original = finished(tmp_path / "sweep" / "run-s0", OBSERVED, [(9, {"norm.kind": "l1"})])
    lines = original.journal_file.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines):
        event = orjson.loads(line)
        if event["type"] == "request":
            event["command"]["changes"] = {"norm.kind": "linf"}
            lines[number] = orjson.dumps(event) + b"\n"
    original.journal_file.write_bytes(b"".join(lines))
    again = replayed(original)
    found = compare(original, again)
    assert not found.same
    assert "step of step 9" in found.difference
    assert "recomputed as" in found.difference


def test_other_surroundings_are_named_and_make_digests_not_comparable(tmp_path: Path) -> None:
    original = finished(tmp_path / "sweep" / "run-s0", DEEP_LINEAR, [])
    meta = orjson.loads(original.meta_file.read_bytes())
    meta["versions"]["torch"] = "1.0"
    meta["threads"] = 64
    meta["host"] = "elsewhere"
    original.meta_file.write_bytes(orjson.dumps(meta))
    found = compare(original, replayed(original))
    assert found.same
    assert not found.comparable
    assert [text.split(":")[0] for text in found.environment_diff] == ["versions.torch", "threads"]


def test_a_run_that_never_began_cannot_be_replayed_and_leaves_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path / "sweep" / "run-s0", DEEP_LINEAR)
    with pytest.raises(BranchError, match="never begun"):
        replay([run])
    assert [p.name for p in tmp_path.iterdir()] == ["sweep"]


def test_a_replay_may_be_put_elsewhere_and_moved(tmp_path: Path) -> None:
    original = finished(tmp_path / "sweep" / "run-s0", DEEP_LINEAR, [(9, {"norm.kind": "l1"})])
    sweep = replay([original], out=tmp_path / "elsewhere" / "again")
    assert sweep.path == tmp_path / "elsewhere" / "again"
    shutil.rmtree(original.path)  # it needs its original no more
    (run,) = sweep.runs()
    assert train(run) == 0
    assert answers(run) == [(9, "set", "applied")]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_steered_and_killed_at_random_it_replays_to_the_same_digest(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    run = make_run(tmp_path / "sweep" / "run-s0", OBSERVED if seed % 2 else SLOW_OBSERVED)
    for _ in range(dice.randrange(1, 6)):
        process = start(run)
        for _ in range(dice.randrange(5)):
            at = dice.choice([None, dice.randrange(60)])
            requests.send_request(run, commands.Set(changes=dice.choice(CHANGES), at_step=at))
            process.join(dice.random() * 0.1)
        if process.is_alive():
            process.kill()
        process.join()
    assert train(run) == 0, run.log_file.read_text()
    requested = [e["id"] for e in events(run) if e["type"] == "request"]
    assert len(requested) == len(set(requested))
    heard = max(e["t"] for e in events(run) if e["type"] == "step")  # for the last time
    assert all(int(left.path.name.partition("-")[0]) / 1e9 > heard for left in requests.waiting(run))
    found = compare(run, replayed(run))
    assert found.same, found.difference
