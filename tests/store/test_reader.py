"""The one reader: tail first, history behind, then what is appended, whatever the file holds."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bncore.store import journal as journal_module
from bncore.store import reader as reader_module
from bncore.store.columns import Columns
from bncore.store.errors import StoreError
from bncore.store.journal import Journal, encode
from bncore.store.paths import RunDir
from bncore.store.reader import read

FIXTURE = Path(__file__).parent / "fixtures" / "journal-schema-1.jsonl"


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks so small that short journals have a history."""
    monkeypatch.setattr(reader_module, "TAIL_BYTES", 300)
    monkeypatch.setattr(reader_module, "BLOCK_BYTES", 500)


def some_events(count: int) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = [{"type": "start", "step": 0, "schema": 1}]
    for step in range(count):
        events.append({"type": "step", "step": step, "loss": 1 / (step + 1)})
        if step % 5 == 0:
            events.append({"type": "eval", "step": step, "test_loss": float(step)})
            events.append({"type": "probe", "step": step, "name": "ics", "l2": [float(step), 2.0 * step]})
        if step % 7 == 0:
            events.append({"type": "note", "step": step, "text": f"at {step}"})
    return [{"seq": i, "t": 1e9 + i} | event for i, event in enumerate(events)]


def put(run: RunDir, events: list[dict[str, Any]]) -> bytes:
    content = b"".join(encode(event) + b"\n" for event in events)
    run.journal_file.write_bytes(content)
    return content


def assert_holds(columns: Columns, events: list[dict[str, Any]]) -> None:
    """The plainest reading of the events says the same as the columns."""
    steps = [e for e in events if e["type"] == "step"]
    series = columns.series("step", "loss")
    assert series.steps.tolist() == [e["step"] for e in steps]
    assert series.values.tolist() == [float(e["loss"]) for e in steps]
    probes = [e for e in events if e["type"] == "probe"]
    assert columns.series("probe:ics", "l2").values.tolist() == [e["l2"] for e in probes]
    assert columns.events == [e for e in events if e["type"] not in ("step", "eval", "probe")]


@pytest.mark.usefixtures("small_blocks")
def test_the_tail_comes_at_once_and_history_behind_it(run: RunDir) -> None:
    events = some_events(100)
    put(run, events)
    reader = read(run)
    columns = reader.advance(budget_s=0)
    found = columns.series("step", "loss").steps
    assert not columns.complete
    assert 0 < len(found) < 10
    assert found[-1] == 99
    assert columns.start["schema"] == 1, "the first event is known at once"
    columns = reader.advance()
    assert columns.complete
    assert_holds(columns, events)


@pytest.mark.usefixtures("small_blocks")
def test_a_growing_file_is_followed_while_history_is_filled_in(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that moves with every look gives each call one block of history."""
    ticks = iter(range(10_000))
    monkeypatch.setattr(reader_module.time, "monotonic", lambda: next(ticks))
    events = some_events(200)
    size = len(put(run, events[:100]))
    reader = read(run)
    looks = 0
    with run.journal_file.open("ab", buffering=0) as file:
        for event in events[100:]:
            line = encode(event) + b"\n"
            file.write(line[:9])
            reader.advance(budget_s=1.5)
            file.write(line[9:])
            looks += not reader.columns.complete
    assert looks > 3, f"{size} bytes were read at one look"
    assert_holds(reader.advance(budget_s=0), events)


def test_a_torn_last_line_is_left_for_later(run: RunDir) -> None:
    events = some_events(3)
    content = put(run, events)
    run.journal_file.write_bytes(content[:-10])
    reader = read(run)
    assert_holds(reader.advance(), events[:-1])
    assert reader.columns.skipped == []
    run.journal_file.write_bytes(content)
    assert_holds(reader.advance(), events)


def test_a_torn_line_that_a_resume_cuts_and_replaces_is_read_once(run: RunDir) -> None:
    events = some_events(3)
    content = put(run, events)
    run.journal_file.write_bytes(content + b'{"seq": 7, "type": "st')
    reader = read(run)
    reader.advance()
    resumed = Journal(run.journal_file)
    resumed.append("note", 3, text="after")
    columns = reader.advance()
    assert [e["text"] for e in columns.events if e["type"] == "note"] == ["at 0", "after"]
    assert columns.skipped == []


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    "junk", [b"junk", b"[]", b'{"type": "step"}', b'{"type": "step", "step": 1.5}', b"\xff", b"", b"x" * 2000]
)
@pytest.mark.parametrize("place", [1, 60, -1])
def test_a_line_that_is_no_event_is_reported_with_its_place(run: RunDir, junk: bytes, place: int) -> None:
    events = some_events(60)
    lines = [encode(event) for event in events]
    at = place % len(lines)
    lines.insert(at, junk)
    content = b"".join(line + b"\n" for line in lines)
    run.journal_file.write_bytes(content)
    reader = read(run)
    reader.advance(budget_s=0)
    columns = reader.advance()
    offset = sum(len(line) + 1 for line in lines[:at])
    assert columns.skipped == [f"byte {offset}: {junk[:60]!r}"]
    assert_holds(columns, events)


@pytest.mark.usefixtures("small_blocks")
def test_an_endless_line_stops_nothing(run: RunDir) -> None:
    events = some_events(3)
    put(run, events)
    reader = read(run)
    reader.advance()
    with run.journal_file.open("ab") as file:
        file.write(b"x" * 5000)
        file.flush()
        reader.advance()
        file.write(b"\n" + encode({"seq": 9, "t": 0, "type": "note", "step": 3, "text": "after"}) + b"\n")
    assert reader.advance().events[-1]["text"] == "after"


def test_a_journal_that_is_not_there_yet_is_empty(run: RunDir) -> None:
    reader = read(run)
    assert reader.advance().events == []
    assert not reader.gone
    run.journal_file.write_bytes(b"")
    assert reader.advance().start == {}
    put(run, some_events(3))
    assert_holds(reader.advance(), some_events(3))
    assert reader.columns.start["type"] == "start"


def test_a_journal_that_vanishes_is_a_state_and_keeps_what_was_read(run: RunDir) -> None:
    events = some_events(3)
    put(run, events)
    reader = read(run)
    reader.advance()
    assert not reader.gone
    moved = run.journal_file.rename(run.path / "elsewhere")
    assert_holds(reader.advance(), events)
    assert reader.gone
    moved.rename(run.journal_file)
    reader.advance()
    assert not reader.gone


@pytest.mark.parametrize("kept", [0, 1, 20, 59])
def test_a_journal_that_lost_its_end_and_went_on_is_read_anew(run: RunDir, kept: int) -> None:
    """As when a host loses power: lines that were not synced are gone, and a resume makes them again."""
    events = some_events(40)
    lines = put(run, events).splitlines(keepends=True)
    reader = read(run)
    assert_holds(reader.advance(), events)
    run.journal_file.write_bytes(b"".join(lines[:kept]))
    assert_holds(reader.advance(), events[:kept])
    put(run, some_events(80))
    columns = reader.advance()
    assert_holds(columns, some_events(80))
    assert columns.skipped == []
    assert columns.complete


@pytest.mark.parametrize("schema", [journal_module.SCHEMA + 1, 1e9, "2", None, [1]])
def test_a_schema_of_the_future_is_refused(run: RunDir, schema: object) -> None:
    run.journal_file.write_bytes(
        orjson.dumps({"seq": 0, "type": "start", "step": 0, "schema": schema}) + b"\n"
    )
    with pytest.raises(StoreError, match=r"journal\.jsonl: schema .*; this program reads up to 1"):
        read(run).advance()


@pytest.mark.parametrize("known", [journal_module.SCHEMA, journal_module.SCHEMA + 1])
def test_a_journal_of_schema_1_is_read(run: RunDir, known: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is kept as schema 1 wrote it, for every later version of this program."""
    monkeypatch.setattr(journal_module, "SCHEMA", known)
    shutil.copy(FIXTURE, run.journal_file)
    columns = read(run).advance()
    assert columns.skipped == []
    assert columns.start["data"] == "CIFAR-10"
    assert columns.tables() == ["eval", "probe:ics", "step"]
    assert columns.fields("step") == ["seq", "t", "loss", "penalty", "accuracy", "lr", "grad_norm"]
    assert columns.series("step", "loss").values.tolist() == [2.3, np.inf]
    np.testing.assert_array_equal(columns.series("probe:ics", "l2").values, [[0.0, 0.5, np.nan]])
    assert columns.series("eval", "test_accuracy").values.tolist() == [0.11]
    finished = columns.last("finished")
    assert finished is not None
    assert (finished["state"], finished["params_sha256"]) == ("diverged", "00")
    request = columns.last("request")
    assert request is not None
    assert request["command"] == {"kind": "note", "at_step": None, "text": "hm"}


def test_what_the_writer_wrote_the_reader_reads(run: RunDir) -> None:
    journal = Journal(run.journal_file)
    journal.append("step", 0, loss=np.float32(0.1), per_layer=np.array([1.0, np.nan, -np.inf]))
    columns = read(run).advance()
    np.testing.assert_array_equal(columns.series("step", "per_layer").values, [[1.0, np.nan, -np.inf]])


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
_event = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["step", "eval", "probe", "note", "start"]) | _json,
        "step": st.integers(0, 9) | _json,
    },
    optional={"loss": _json, "name": _json, "schema": st.just(1), "l2": _json, "seq": _json},
)


def _dumped(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # a lone surrogate
        return b"null"


_line = (
    _event.map(_dumped) | _json.map(_dumped) | st.binary(max_size=20).filter(lambda line: b"\n" not in line)
)


@settings(max_examples=300)
@given(st.lists(_line, max_size=12), st.integers(0, 400), st.integers(1, 60))
def test_whatever_the_lines_say_each_is_an_event_or_reported(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], cut: int, block: int
) -> None:
    run = RunDir(tmp_path_factory.mktemp("fuzz"))
    content = b"".join(line + b"\n" for line in lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader_module, "TAIL_BYTES", block)
        patch.setattr(reader_module, "BLOCK_BYTES", block)
        reader = read(run)
        for size in (min(cut, len(content)), len(content)):
            run.journal_file.write_bytes(content[:size])
            try:
                columns = reader.advance()
            except StoreError as error:
                assert "schema" in str(error)
                return
    assert columns.complete
    tables = sum(len(columns.series(table, "step")) for table in columns.tables())
    unnumbered = sum(b'"step":' in line for line in lines)  # events whose step is too large for a column
    assert tables + len(columns.events) + len(columns.skipped) <= len(lines)
    assert tables + len(columns.events) + len(columns.skipped) >= len(lines) - unnumbered
    for table in columns.tables():
        for field in columns.fields(table):
            series = columns.series(table, field)
            assert len(series.steps) == len(series.values)


def test_reading_changes_nothing(run: RunDir) -> None:
    put(run, some_events(5))
    before = run.journal_file.stat()
    read(run).advance()
    after = run.journal_file.stat()
    assert (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)
    assert [p.name for p in run.path.iterdir()] == ["journal.jsonl"]
