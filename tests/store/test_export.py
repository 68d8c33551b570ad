"""`load_run` and what is exported say what the journal says."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import orjson
import pyarrow.parquet
import pytest

import bncore
from bncore.store.errors import NoSuchRun, StoreError
from bncore.store.export_tables import export_csv, export_parquet
from bncore.store.journal import Journal
from bncore.store.loaded import LoadedRun, load_run
from bncore.store.paths import RunDir
from store.factories import SMALL, empty_run, finished_run


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedRun:
    return load_run(finished_run(tmp_path / "run-s0", layers=3).path)


def test_a_run_is_loaded_whole(loaded: LoadedRun) -> None:
    assert bncore.load_run(loaded.run.path).table("step")["loss"].tolist() == [1.0, 0.5, 0.25, 0.125]
    assert loaded.spec == SMALL
    assert loaded.meta == {}
    assert loaded.tables == ["eval", "probe:ics", "step"]
    step = loaded.table("step")
    assert step["step"].tolist() == [0, 1, 2, 3]
    assert step["loss"].tolist() == [1.0, 0.5, 0.25, 0.125]
    assert loaded.table("probe:ics")["l2"].tolist() == [[0, 1, 2], [2, 3, 4]]
    assert list(loaded.flat_table("probe:ics")) == ["step", "seq", "t", "l2.1", "l2.2", "l2.3"]
    assert loaded.flat_table("probe:ics")["l2.3"].tolist() == [2, 4]
    assert loaded.columns.last("finished") is not None


def test_an_unknown_table_is_named_with_those_there_are(loaded: LoadedRun) -> None:
    with pytest.raises(KeyError, match="stap: no such table; the run has eval, probe:ics, step"):
        loaded.table("stap")


def test_a_field_that_is_missing_now_and_then_is_nan_there(tmp_path: Path) -> None:
    run = empty_run(tmp_path / "run-s0")
    journal = Journal(run.journal_file)
    journal.append("step", 0, loss=1.0)
    journal.append("step", 1, loss=0.5, accuracy=0.25)
    journal.append("step", 2, loss=math.nan)
    table = load_run(run.path).table("step")
    np.testing.assert_array_equal(table["loss"], [1.0, 0.5, np.nan])
    np.testing.assert_array_equal(table["accuracy"], [np.nan, 0.25, np.nan])


def test_csv_reads_back(loaded: LoadedRun, tmp_path: Path) -> None:
    paths = export_csv(loaded.flat_tables(), tmp_path / "out" / "csv")
    assert [p.name for p in paths] == ["eval.csv", "probe-ics.csv", "step.csv"]
    for path, name in zip(paths, loaded.tables, strict=True):
        with path.open(newline="") as file:
            head, *rows = csv.reader(file)
        table = loaded.flat_table(name)
        assert head == list(table)
        read = np.array(rows, dtype=np.float64).T
        np.testing.assert_array_equal(read, list(table.values()))  # repr of a float loses nothing


def test_parquet_reads_back(loaded: LoadedRun, tmp_path: Path) -> None:
    paths = export_parquet(loaded.flat_tables(), tmp_path / "out")
    assert [p.name for p in paths] == ["eval.parquet", "probe-ics.parquet", "step.parquet"]
    for path, name in zip(paths, loaded.tables, strict=True):
        read = pyarrow.parquet.read_table(path)
        for field, column in loaded.flat_table(name).items():
            np.testing.assert_array_equal(read[field].to_numpy(), column)
            assert read[field].to_numpy().dtype == column.dtype


@pytest.mark.parametrize("export", [export_csv, export_parquet])
def test_a_folder_that_cannot_be_written_is_named(loaded: LoadedRun, tmp_path: Path, export: object) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(StoreError, match=r"out/eval\..*: cannot be written"):
        export(loaded.flat_tables(), tmp_path / "out")  # type: ignore[operator]


def test_the_name_of_a_probe_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    run = empty_run(tmp_path / "run-s0")
    Journal(run.journal_file).append("probe", 0, name="../../evil", l2=1.0)
    (path,) = export_csv(load_run(run.path).flat_tables(), tmp_path / "out")
    assert path == tmp_path / "out" / "probe-------evil.csv"


def test_a_frame_has_the_flat_table_s_columns(loaded: LoadedRun) -> None:
    pandas = pytest.importorskip("pandas", reason="frames are optional")
    frame = loaded.frame("step")
    assert list(frame.columns) == list(loaded.flat_table("step"))
    assert pandas is not None


def test_without_a_frame_library_it_is_said_which(loaded: LoadedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bncore.store.loaded.find_spec", lambda _: None)
    with pytest.raises(ImportError, match="frames need polars or pandas"):
        loaded.frame("step")


def test_parquet_without_pyarrow_says_what_to_install(
    loaded: LoadedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bncore.store.export_tables.find_spec", lambda _: None)
    with pytest.raises(StoreError, match="Parquet needs pyarrow"):
        export_parquet(loaded.flat_tables(), tmp_path)


def test_what_is_no_run_directory_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoSuchRun, match="no run directory"):
        load_run(tmp_path)


@pytest.mark.parametrize("meta", [b"junk", b"[1]", b"\xff", b"{}"])
def test_meta_that_makes_no_sense_is_empty(tmp_path: Path, meta: bytes) -> None:
    run = finished_run(tmp_path / "run-s0")
    run.meta_file.write_bytes(meta)
    assert load_run(run.path).meta == {}


@pytest.mark.parametrize(
    "event",
    [
        {"type": "step", "step": 0},
        {"type": "step", "step": 0, "loss": "text"},
        {"type": "step", "step": 0, "loss": [], "deep": [[1], [2, 3]]},
        {"type": "probe", "step": 0, "name": None, "matrix": [[1, 2], [3, 4]]},
        {"type": "step", "step": 2**64 - 1, "loss": 1.0},
    ],
)
def test_strange_events_are_loaded_and_exported_all_the_same(
    tmp_path: Path, event: dict[str, object]
) -> None:
    run = RunDir(finished_run(tmp_path / "run-s0").path)
    run.journal_file.write_bytes(orjson.dumps(event) + b"\n")
    loaded = load_run(run.path)
    assert len(export_csv(loaded.flat_tables(), tmp_path / "out")) == len(loaded.tables) == 1
    assert len(export_parquet(loaded.flat_tables(), tmp_path / "out")) == 1
