"""`verify` says nothing of a valid run, and finds and names each kind of damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from bncore.store.paths import RunDir
from bncore.store.status import Status, write_status
from bncore.store.verify import verify
from store.factories import DIGEST, SMALL, empty_run, finished_run, lines, loadable


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return finished_run(tmp_path / "small-001" / "run-s0")


def problems(run: RunDir) -> list[str]:
    return verify(run, loadable)


def rewrite(run: RunDir, change: Callable[[list[Any]], list[Any]], *, number: bool = True) -> None:
    """Change the journal's events and, unless requested otherwise, number them anew."""
    events = change(lines(run.journal_file))
    if number:
        events = [{**event, "seq": i} for i, event in enumerate(events)]
    run.journal_file.write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in events))


def without(kind: str, step: int) -> Callable[[list[Any]], list[Any]]:
    return lambda events: [e for e in events if (e["type"], e["step"]) != (kind, step)]


def test_a_finished_run_is_sound(run: RunDir) -> None:
    assert problems(run) == []


def test_a_queued_run_is_sound(tmp_path: Path) -> None:
    assert problems(empty_run(tmp_path / "run-s0")) == []


def test_a_run_that_is_under_way_is_sound(run: RunDir) -> None:
    write_status(run, Status("running", step=3, steps=4))
    rewrite(run, lambda events: [e for e in events if e["step"] < 3])
    for path in run.checkpoints.iterdir():
        path.unlink()
    (run.checkpoints / "step-000000002.pt").write_text(f"2 {DIGEST}")
    assert problems(run) == []


def the_problem(run: RunDir) -> str:
    (found,) = problems(run)
    return found


def test_a_torn_last_line(run: RunDir) -> None:
    with run.journal_file.open("ab") as file:
        file.write(b'{"seq": 12, "ty')
    assert (
        the_problem(run)
        == f"{run.journal_file}: the last line is torn: readers pass it over, and a resume cuts it"
    )


@pytest.mark.parametrize(
    "junk", [b"garbage", b"[]", b'{"type": "step"}', b'{"type": "step", "step": "3"}', b"\xff", b""]
)
def test_a_line_that_is_no_event(run: RunDir, junk: bytes) -> None:
    with run.journal_file.open("ab") as file:
        file.write(junk + b"\n")
    number = run.journal_file.read_bytes().count(b"\n")
    assert the_problem(run) == f"{run.journal_file}: line {number} is no event: {junk!r}"


def test_a_journal_without_its_first_line(run: RunDir) -> None:
    rewrite(run, lambda events: events[1:])
    assert the_problem(run) == f"{run.journal_file}: line 1 is no start event of a known schema"


def test_a_journal_of_an_unknown_schema(run: RunDir) -> None:
    rewrite(run, lambda events: [{**events[0], "schema": 999}, *events[1:]])
    assert the_problem(run) == f"{run.journal_file}: line 1 is no start event of a known schema"


def test_a_line_taken_out(run: RunDir) -> None:
    rewrite(run, lambda events: [e for e in events if e["type"] != "probe"], number=False)
    assert the_problem(run) == f"{run.journal_file}: event 3: seq is 4, expected 3"


def test_a_number_that_is_none(run: RunDir) -> None:
    forget = [
        {"type": "request", "step": 4, "id": name, "author": "u", "outcome": "applied", "command": command}
        for name, command in (
            ("a", {"kind": "set", "changes": {"optim.lr": 1.0}}),
            ("b", {"kind": "drop_request", "request": "a"}),
        )
    ]
    rewrite(run, lambda events: [*events[:-1], *forget, events[-1]])
    rewrite(run, lambda events: [{**events[0], "seq": [0]}, *events[1:]], number=False)
    assert the_problem(run) == f"{run.journal_file}: event 0: seq is [0], expected 0"


@pytest.mark.parametrize(("kind", "step"), [("step", 0), ("step", 3), ("eval", 2), ("eval", 4)])
def test_a_missing_event_though_the_numbers_fit(run: RunDir, kind: str, step: int) -> None:
    rewrite(run, without(kind, step))
    assert the_problem(run) == f"{run.journal_file}: 1 {kind} events are missing, the first of step {step}"


def test_an_event_written_twice(run: RunDir) -> None:
    rewrite(
        run,
        lambda events: [
            e for event in events for e in [event] * (1 + (event["type"] == "step" and event["step"] == 1))
        ],
    )
    assert the_problem(run) == f"{run.journal_file}: 1 step events are there twice, the first of step 1"


def test_steps_in_the_wrong_order(run: RunDir) -> None:
    rewrite(
        run,
        lambda events: sorted(
            events, key=lambda e: {("step", 1): 2.5}.get((e["type"], e["step"]), e["step"])
        ),
    )
    assert "step 1 after step 2" in the_problem(run)


def test_more_steps_than_the_spec_has(run: RunDir) -> None:
    rewrite(run, lambda events: [*events, {**events[2], "step": 9}])
    assert f"{run.journal_file}: speaks of step 9; the run has {SMALL.steps}" in problems(run)


def test_a_journal_that_goes_on_after_its_end(run: RunDir) -> None:
    rewrite(run, lambda events: [*events, events[-1]])
    assert the_problem(run) == f"{run.journal_file}: continues after event 11 (finished)"


def test_a_journal_cut_short_of_its_end(run: RunDir) -> None:
    rewrite(run, lambda events: events[:-1])
    assert f"{run.journal_file}: no finished event; status.json says finished" in problems(run)


def test_a_checkpoint_ahead_of_the_journal(run: RunDir) -> None:
    write_status(run, Status("stopped", step=4, steps=4))
    rewrite(run, lambda events: [e for e in events if e["step"] < 2])
    assert problems(run) == [
        f"{run.journal_file}: 2 step events are missing, the first of step 2",
        f"{run.journal_file}: 1 eval events are missing, the first of step 2",
    ]


def test_a_digest_that_is_not_the_checkpoints(run: RunDir) -> None:
    (run.checkpoints / "step-000000004.pt").write_text("4 0123")
    assert the_problem(run) == (
        f"{run.journal_file}: event 11: params_sha256 is '{DIGEST}', the checkpoint's is '0123'"
    )


def test_a_checkpoint_that_cannot_be_loaded(run: RunDir) -> None:
    (run.checkpoints / "step-000000002.pt").write_text("junk")
    assert the_problem(run) == f"{run.checkpoints / 'step-000000002.pt'}: not a readable checkpoint"


def test_no_checkpoint_of_the_end(run: RunDir) -> None:
    (run.checkpoints / "step-000000004.pt").unlink()
    assert the_problem(run) == f"{run.checkpoints}: no checkpoint of the last step 4"


def test_a_journal_that_is_gone(run: RunDir) -> None:
    run.journal_file.unlink()
    assert f"{run.journal_file}: cannot be read: No such file or directory" in problems(run)


def test_a_spec_that_makes_no_sense(run: RunDir) -> None:
    run.spec_file.write_text("steps = -1\n")
    assert str(run.spec_file) in the_problem(run)


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[1]"])
def test_a_heartbeat_that_makes_no_sense(run: RunDir, content: bytes | None) -> None:
    run.status_file.unlink()
    if content is not None:
        run.status_file.write_bytes(content)
    assert verify(run, loadable) == [f"{run.status_file}: no valid heartbeat"]
