"""Invariant 2: killed with SIGKILL at any moment and resumed, a run ends as if nothing had happened."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from bncore.config.model import Spec
from bncore.store import commands, requests
from bncore.store.paths import RunDir, list_checkpoints
from resume.conftest import Undisturbed
from resume.factories import DEEP_LINEAR, SPARSE, digest, events, make_run, steps_of, story, train

POINTS = [
    "journal.half:1",  # the first line: the journal is empty once it is cut
    "journal.half:2",
    "journal.half:12",
    "journal.half:13",
    "journal.half:40",
    "checkpoint.half:1",
    "checkpoint.half:4",
    "checkpoint.half:9",  # the checkpoint of the end
    "checkpoint.rename:1",
    "checkpoint.rename:5",
    "checkpoint.rename:9",
    "owner.link:1",
    "status.replace:1",
    "status.replace:2",
    "meta.replace:1",
]


def assert_as_undisturbed(run: RunDir, twin: RunDir) -> None:
    assert story(run) == story(twin)
    assert digest(run) == digest(twin)
    assert [event["seq"] for event in events(run)] == list(range(len(events(run))))


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("spec", [DEEP_LINEAR, SPARSE], ids=["every-step", "every-third"])
def test_a_killed_run_ends_as_if_it_had_not_been(
    tmp_path: Path, undisturbed: Undisturbed, spec: Spec, point: str
) -> None:
    run = make_run(tmp_path / "run-s0", spec)
    if train(run, failpoint=point) == 0:
        assert (spec, point) == (SPARSE, "journal.half:40"), "the fault point was never passed"
    assert train(run) == 0
    assert_as_undisturbed(run, undisturbed(spec))


@pytest.mark.parametrize(
    "points",
    [
        ("journal.half:30", "journal.half:1"),  # again, before the resumed run has said a word
        ("journal.half:30", "checkpoint.rename:1"),
        ("checkpoint.half:3", "checkpoint.half:1", "checkpoint.half:1"),
        ("journal.half:20", "owner.link:1", "status.replace:1", "journal.half:9"),
    ],
    ids=" ".join,
)
def test_a_run_killed_while_it_resumes_ends_so_too(
    tmp_path: Path, undisturbed: Undisturbed, points: tuple[str, ...]
) -> None:
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)
    for point in points:
        assert train(run, failpoint=point) == -signal.SIGKILL
    assert train(run) == 0
    assert_as_undisturbed(run, undisturbed(DEEP_LINEAR))


def with_requests(path: Path) -> RunDir:
    """A run that finds two notes and a wish for a checkpoint in its inbox."""
    run = make_run(path, DEEP_LINEAR)
    requests.send_request(run, commands.Note(text="before the kill", at_step=20))
    requests.send_request(run, commands.Checkpoint(at_step=20))
    requests.send_request(run, commands.Note(text="after it", at_step=45))
    return run


@pytest.mark.parametrize(
    "point",
    [
        "journal.half:26",  # the first request's event
        "journal.half:27",  # the note itself, its request being journaled
        "journal.half:28",
        "checkpoint.half:3",  # the requested checkpoint, its request being journaled
        "checkpoint.rename:3",
        "journal.half:31",
        "journal.half:60",
    ],
)
def test_requests_are_taken_once_whatever_is_killed(tmp_path: Path, point: str) -> None:
    twin = with_requests(tmp_path / "twin-s0")
    assert train(twin) == 0
    run = with_requests(tmp_path / "run-s0")
    assert train(run, failpoint=point) == -signal.SIGKILL
    assert train(run) == 0
    assert_as_undisturbed(run, twin)
    assert list(run.inbox.glob("*.json")) == []
    assert steps_of(run, "note") == [20, 45]
    assert [c.step for c in list_checkpoints(run.checkpoints) if c.why == "kept"] == [20]


def test_a_damaged_checkpoint_makes_way_for_the_one_before(tmp_path: Path, undisturbed: Undisturbed) -> None:
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)
    assert train(run, failpoint="journal.half:50") == -signal.SIGKILL
    older, newest = list_checkpoints(run.checkpoints)
    content = bytearray(newest.path.read_bytes())
    for place in range(len(content) // 2, len(content) // 2 + 256):  # a single byte may be padding
        content[place] ^= 0xFF
    newest.path.write_bytes(content)
    assert train(run) == 0
    assert [e["step"] for e in events(run) if e["type"] == "start"] == [0, older.step]
    assert str(newest.path) in run.log_file.read_text()
    assert_as_undisturbed(run, undisturbed(DEEP_LINEAR))


def test_without_any_sound_checkpoint_a_run_begins_anew(tmp_path: Path, undisturbed: Undisturbed) -> None:
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)
    assert train(run, failpoint="journal.half:50") == -signal.SIGKILL
    for found in list_checkpoints(run.checkpoints):
        found.path.write_bytes(b"")
    assert train(run) == 0
    assert_as_undisturbed(run, undisturbed(DEEP_LINEAR))


def test_a_resumed_run_that_would_end_otherwise_says_so_and_writes_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)
    assert train(run, failpoint="journal.half:50") == -signal.SIGKILL
    run.spec_file.write_text(run.spec_file.read_text().replace("lr = 0.01", "lr = 0.02"))
    before = len(run.journal_file.read_bytes().split(b"\n"))
    assert train(run) == 1
    assert "lr was 0.01, recomputed as 0.02" in run.log_file.read_text()
    assert len(events(run)) == before  # the torn line made way for the one that says "start"


def test_what_killed_writers_left_lying_does_not_stay(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)
    for point in ("checkpoint.half:1", "owner.link:1", "status.replace:1", "meta.replace:1"):
        assert train(run, failpoint=point) == -signal.SIGKILL
    assert train(run) == 0
    assert {p.name for p in run.path.iterdir()} == {
        "spec.toml", "meta.json", "journal.jsonl", "status.json", "log.txt", "inbox", "checkpoints",
    }  # fmt: skip
    assert [c.step for c in list_checkpoints(run.checkpoints)] == [56, 60]
    assert len(list(run.checkpoints.iterdir())) == 2
