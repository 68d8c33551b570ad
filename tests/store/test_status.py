"""The heartbeat, and telling the living from the dead."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bncore.store.errors import StoreError
from bncore.store.owner import Owner, acquire, read_owner
from bncore.store.paths import RunDir
from bncore.store.status import SILENCE_S, STATES, Observer, State, Status, read_status, write_status
from store.factories import empty_run

FULL = Status("running", 10, 100, 2.5, 36.0, 7, 1764000000.0, "under way")


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return empty_run(tmp_path / "run-s0")


@pytest.mark.parametrize("state", STATES)
def test_what_is_written_is_read(run: RunDir, state: State) -> None:
    status = replace(FULL, state=state)
    write_status(run, status)
    assert read_status(run) == status
    assert sorted(p.name for p in run.path.iterdir()) == ["checkpoints", "inbox", "spec.toml", "status.json"]


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"7",
        b'"state"',
        b"{}",
        b'{"state": 1}',
        b'{"state": "asleep"}',
        b"\xff",
        b"[" * 5000,
    ],
)
def test_garbage_is_no_status(run: RunDir, junk: bytes) -> None:
    run.status_file.write_bytes(junk)
    assert read_status(run) is None


@pytest.mark.parametrize("field", ["step", "steps", "rate", "eta_s", "counter", "t", "message"])
@pytest.mark.parametrize("value", ["", "12", [], {}, [1]])
def test_a_field_of_the_wrong_kind_is_no_status(run: RunDir, field: str, value: object) -> None:
    if field == "message" and isinstance(value, str):
        value = 12
    run.status_file.write_bytes(orjson.dumps(asdict(FULL) | {field: value}))
    assert read_status(run) is None


def test_fields_of_a_later_version_are_passed_over(run: RunDir) -> None:
    run.status_file.write_bytes(orjson.dumps(asdict(FULL) | {"mood": "good"}))
    assert read_status(run) == FULL


def test_no_file_is_no_status(run: RunDir) -> None:
    run.status_file.unlink()
    assert read_status(run) is None
    run.status_file.mkdir()
    assert read_status(run) is None


def test_a_status_that_cannot_be_written_leaves_the_old_one(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_status(run, FULL)

    def refuse(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(StoreError, match=r"status\.json: cannot be written: No space left on device"):
        write_status(run, replace(FULL, step=11))
    assert read_status(run) == FULL
    assert not list(run.path.glob(".status*"))


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip


def _tables(example: Any) -> st.SearchStrategy[bytes]:
    """A valid table of which some values are replaced by anything; or any bytes."""
    changes = st.dictionaries(st.sampled_from(sorted(asdict(example))), _json, max_size=3)
    return (
        changes.map(lambda change: _dumped(asdict(example) | change))
        | st.binary(max_size=60)
        | _json.map(_dumped)
    )


def _dumped(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # a lone surrogate
        return b""


@given(_tables(FULL))
def test_whatever_status_json_holds_reading_it_never_fails(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    run = RunDir(tmp_path_factory.mktemp("fuzz"))
    run.status_file.write_bytes(content)
    status = read_status(run)
    if status is not None:
        assert status.state in STATES
        shown = f"{status.step:,} {status.steps:,} {status.rate or 0:.3g} {status.eta_s or 0:.0f}"
        assert len(shown.split()) == 4
        Observer().dead(run, status)


@given(_tables(Owner("host", "boot", 1, 2, "nonce", inode=3, path="/there")))
def test_whatever_owner_json_holds_it_can_be_read_and_taken(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    run = RunDir(tmp_path_factory.mktemp("fuzz"))
    run.owner_file.write_bytes(content)
    holder = read_owner(run)
    assert holder is None or holder.known_dead() in (True, False)
    assert acquire(run, force=True).is_valid()


# --- observing


class Clock:
    """Seconds that pass on request."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watched(run: RunDir) -> tuple[RunDir, Clock, Callable[[int], bool]]:
    """A run held on another host; what an observer says of a counter now."""
    far = Owner("elsewhere", "boot", 1, 1, "far")
    run.owner_file.write_bytes(orjson.dumps(asdict(far)))
    clock = Clock()
    observer = Observer(clock)
    return run, clock, lambda counter: observer.dead(run, replace(FULL, counter=counter))


def test_a_counter_that_moves_is_alive_and_one_that_does_not_dies(
    watched: tuple[RunDir, Clock, Callable[[int], bool]],
) -> None:
    _, clock, dead = watched
    assert not dead(1)
    clock.now += SILENCE_S - 1
    assert not dead(1)
    assert not dead(2)
    clock.now += SILENCE_S - 1
    assert not dead(2)
    clock.now += 1
    assert dead(2)
    assert not dead(3), "it was only slow"


def test_only_the_observers_own_clock_counts(watched: tuple[RunDir, Clock, Callable[[int], bool]]) -> None:
    run, clock, _ = watched
    observer = Observer(clock)
    for counter, t in enumerate([1e9, 2e9, 5.0, 4.0]):  # the writer's clock leaps and steps back
        assert not observer.dead(run, replace(FULL, counter=counter, t=t))
        clock.now += 2


def test_a_counter_that_begins_anew_is_a_new_life(
    watched: tuple[RunDir, Clock, Callable[[int], bool]],
) -> None:
    _, clock, dead = watched
    assert not dead(500)
    clock.now += SILENCE_S - 1
    assert not dead(1)
    clock.now += SILENCE_S - 1
    assert not dead(1)


def test_an_observers_clock_that_steps_backwards_kills_nobody(
    watched: tuple[RunDir, Clock, Callable[[int], bool]],
) -> None:
    _, clock, dead = watched
    assert not dead(1)
    clock.now -= 10 * SILENCE_S
    assert not dead(1)


def test_a_run_whose_process_is_gone_is_dead_at_once(run: RunDir) -> None:
    mine = acquire(run)
    assert not Observer().dead(run, FULL)
    gone = replace(mine.holder, pid=2**30)
    run.owner_file.write_bytes(orjson.dumps(asdict(gone)))
    assert Observer().dead(run, FULL)
    run.owner_file.unlink()
    assert Observer().dead(run, FULL), "it says that it runs, and nobody holds it"


@pytest.mark.parametrize("state", ["queued", "stopped", "finished", "diverged", "failed"])
def test_what_does_not_claim_to_live_is_not_dead(run: RunDir, state: State) -> None:
    assert not Observer().dead(run, replace(FULL, state=state))
    assert not Observer().dead(run, None)
