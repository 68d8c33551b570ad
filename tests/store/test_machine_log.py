"""What a run took of its machine: written a line at a time, read beside the journal, and never in its way."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bncore.store import machine_log as module
from bncore.store.columns import Columns
from bncore.store.export_tables import export_csv
from bncore.store.loaded import load_run
from bncore.store.machine_log import MACHINE, MachineLog, machine_events
from bncore.store.paths import RunDir
from bncore.store.reader import read
from bncore.store.status import HEARTBEAT_S, Status, read_status, write_status
from bncore.store.verify import verify
from store.factories import finished_run, loadable

WEEK = int(7 * 24 * 3600 / HEARTBEAT_S)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return finished_run(tmp_path / "small-001" / "run-s0")


def append(run: RunDir, steps: range, **figures: float) -> None:
    log = MachineLog(run.machine_file)
    assert all(log.append(step, figures or {"cpu": step / 100}) for step in steps)
    log.close()


def in_columns(run: RunDir, field: str = "cpu") -> tuple[list[int], list[float]]:
    series = read(run).advance().series(MACHINE, field)
    return series.steps.tolist(), series.values.tolist()


def test_what_was_recorded_is_a_table_like_any_other(run: RunDir, tmp_path: Path) -> None:
    append(run, range(3))
    assert in_columns(run) == ([0, 1, 2], [0.0, 0.01, 0.02])
    loaded = load_run(run.path)
    assert loaded.tables == ["eval", "machine", "probe:ics", "step"]
    assert list(loaded.table("machine")) == ["step", "t", "cpu"]
    exported = {
        path.name: path.read_text().splitlines()
        for path in export_csv(loaded.flat_tables(), tmp_path / "csv")
    }
    assert exported["machine.csv"][0] == "step,t,cpu"
    assert verify(run, loadable) == []


def test_a_run_of_an_older_program_has_none(run: RunDir) -> None:
    columns = read(run).advance()
    assert columns.complete
    assert MACHINE not in columns.tables()
    assert verify(run, loadable) == []


def test_a_torn_last_line_is_passed_over_and_then_cut(run: RunDir) -> None:
    append(run, range(2))
    with run.machine_file.open("ab") as file:
        file.write(b'{"t": 1, "step": 2, "c')
    assert in_columns(run)[0] == [0, 1]
    assert verify(run, loadable) == []
    append(run, range(2, 4))
    assert in_columns(run)[0] == [0, 1, 2, 3]
    assert len(run.machine_file.read_bytes().splitlines()) == 4


@pytest.mark.parametrize("junk", [b"garbage", b"[]", b'{"step": "3"}', b"\xff", b"3"])
def test_a_line_that_is_no_record_is_passed_over_and_named(run: RunDir, junk: bytes) -> None:
    run.machine_file.write_bytes(junk + b"\n")
    append(run, range(2))
    assert in_columns(run)[0] == [0, 1]
    assert verify(run, loadable) == [f"{run.machine_file}: line 1 is no record: {junk!r}"]


def test_no_record_passes_for_an_event_of_the_journal(run: RunDir) -> None:
    before = read(run).advance().series("step", "loss")
    run.machine_file.write_bytes(b'{"type": "step", "step": 99, "loss": 5.0}\n')
    after = read(run).advance()
    np.testing.assert_array_equal(after.series("step", "loss").values, before.values)
    assert after.series(MACHINE, "loss").steps.tolist() == [99]


def test_what_is_no_plain_file_is_not_waited_for(run: RunDir) -> None:
    os.mkfifo(run.machine_file)
    assert MACHINE not in read(run).advance().tables()


def test_it_is_followed_as_it_grows_and_read_anew_where_it_shrank(run: RunDir) -> None:
    append(run, range(1000))
    reader = read(run)
    columns = reader.advance(0.0)
    newest = columns.series(MACHINE, "cpu").steps.tolist()
    assert newest and newest == list(range(newest[0], 1000)), "the tail first"
    assert not columns.complete
    assert reader.advance().series(MACHINE, "cpu").steps.tolist() == list(range(1000))
    append(run, range(1000, 1002))
    assert reader.advance(0.0).series(MACHINE, "cpu").steps.tolist() == list(range(1002))
    run.machine_file.write_bytes(b'{"step": 7, "cpu": 1}\n')
    assert reader.advance(0.0).series(MACHINE, "cpu").steps.tolist() == [7]


@given(st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=5), max_size=6), st.data())
def test_of_a_step_that_a_resumed_run_made_again_the_last_record_counts(
    blocks: list[list[int]], data: st.DataObject
) -> None:
    records = [step for block in blocks for step in block]
    wanted = [(step, i) for i, step in enumerate(records) if all(step < later for later in records[i + 1 :])]
    columns, number = Columns(), 0
    for block in blocks:
        events = []
        for step in block:
            gpu = {"gpu_use": 0.5} if data.draw(st.booleans()) else {}
            events.append({"type": MACHINE, "step": step, "number": number, **gpu})
            number += 1
        columns.add(events, in_front=False)
    series = columns.series(MACHINE, "number")
    assert list(zip(series.steps.tolist(), series.values.tolist(), strict=True)) == wanted
    assert set(columns.series(MACHINE, "gpu_use").steps.tolist()) <= {step for step, _ in wanted}


def test_a_week_is_a_few_megabytes(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DOUBLES_EVERY", 20)  # a fiftieth of what it is, and of a week's heartbeats
    log, waited = MachineLog(run.machine_file), 0
    for step in range(WEEK // 50):
        waited += 1
        if waited >= log.every:
            waited = 0
            assert log.append(step, {"cpu": 0.12345})
    log.close()
    count = len(run.machine_file.read_bytes().splitlines())
    assert 100 < count < 180, "of a week some eight thousand"
    steps = np.array(in_columns(run)[0])
    assert (np.diff(steps) <= np.maximum(1, steps[1:] / 10)).all(), (
        "a gap is a small share of what was before it"
    )
    assert MachineLog(run.machine_file).every == log.every, "a resumed run continues so"


def test_a_full_disk_costs_the_line(run: RunDir) -> None:
    log = MachineLog(run.machine_file)
    run.machine_file.symlink_to("/dev/full")
    assert not log.append(0, {"cpu": 1.0})
    assert log.every == 1
    log.close()


def test_a_writer_that_lost_the_run_writes_into_a_file_that_is_gone(run: RunDir) -> None:
    former = MachineLog(run.machine_file)
    assert former.append(0, {"cpu": 0.0})
    present = MachineLog(run.machine_file, fence=True)
    assert former.append(5, {"cpu": 0.5})
    assert present.append(1, {"cpu": 0.1})
    assert in_columns(run) == ([0, 1], [0.0, 0.1])
    former.close()
    present.close()


def test_the_heartbeat_tells_the_newest_figures(run: RunDir) -> None:
    write_status(run, Status("running", 3, machine={"cpu": 0.5}))
    assert read_status(run) == Status("running", 3, t=read_status(run).t, machine={"cpu": 0.5})  # type: ignore[union-attr]
    run.status_file.write_bytes(orjson.dumps({"state": "running", "machine": {"cpu": "much"}}))
    assert read_status(run) is None


def test_records_are_events_of_one_table() -> None:
    (event,) = machine_events(b'{"t": 1.0, "step": 2, "cpu": 0.5}\n')
    assert event == {"type": "machine", "t": 1.0, "step": 2, "cpu": 0.5}
