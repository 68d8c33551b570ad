"""`bnrun export --csv` of groups: the means that charts draw, as tables."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from live.factories import events, made_run, write_sweep
from typer.testing import CliRunner, Result

from bntui.cli.main import app

LOSSES = {"batch-s0": 1.0, "batch-s1": 2.0, "batch-s2": 4.0, "none-s0": 3.0}


@pytest.fixture(autouse=True)
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three seeds of a variant, of which the last one stopped early, and one of another that is at work."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "runs" / "one-001"
    for name, loss in LOSSES.items():
        early, going = name == "batch-s2", name == "none-s0"
        journal = events(20 if early else 40, loss=loss)
        made_run(path / name, journal, state="stopped" if early else "queued" if going else "finished")
    write_sweep(path, list(LOSSES), name="one")
    return path


def export(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["export", "one-001", *arguments])


def rows(path: str, **fields: str) -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return [row for row in csv.DictReader(file) if fields.items() <= row.items()]


def test_without_groups_asked_for_tables_are_of_runs() -> None:
    assert export("--csv").exit_code == 0
    assert Path("one-001-batch-s0/step.csv").exists()
    assert not Path("one-001/step.csv").exists()


def test_a_row_is_the_mean_and_band_of_a_step_and_a_run_that_ended_is_missing_from_it() -> None:
    done = export("--csv", "--band", "range")
    assert "one-001/step.csv" in done.stdout.split(), done.stderr
    loss = rows("one-001/step.csv", group="batch", measure="loss")
    assert [int(row["step"]) for row in loss] == list(range(40))
    for row in loss:
        values = [1.0, 2.0, 4.0] if int(row["step"]) < 20 else [1.0, 2.0]
        found = [float(row[name]) for name in ("mean", "low", "high")]
        want = [np.exp(np.mean(np.log(values))), min(values), max(values)]
        np.testing.assert_allclose(found, want, rtol=1e-12)
        assert int(row["runs"]) == len(values)
        assert (row["band"], row["average"], row["complete"]) == ("range", "geometric", "True")
    [going] = rows("one-001/step.csv", group="none", measure="loss", step="39")
    assert (going["mean"], going["runs"]) == ("3.0", "1")


def test_each_layer_and_each_edge_of_a_band_has_rows() -> None:
    export("--csv", "--by", "variant")
    assert {row["layer"] for row in rows("one-001/probe-ics.csv", measure="ics_l2")} == {"2", "3", "5"}
    fields = [row["field"] for row in rows("one-001/probe-landscape.csv", group="none", measure="loss_band")]
    assert fields == ["loss_min"] * 4 + ["loss_max"] * 4


def test_parquet_holds_the_same() -> None:
    assert export("--csv", "--parquet", "--band", "interval").exit_code == 0
    for path in Path("one-001").glob("*.csv"):
        table = pyarrow.parquet.read_table(path.with_suffix(".parquet")).to_pylist()
        found = [{name: "" if value is None else str(value) for name, value in row.items()} for row in table]
        assert found == rows(str(path))


def test_nothing_is_overwritten() -> None:
    assert export("--csv", "--band", "range").exit_code == 0
    again = export("--csv", "--band", "deviation")
    assert again.exit_code == 2
    assert "exists" in again.stderr
    assert rows("one-001/step.csv")[0]["band"] == "range"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--tensorboard", "--band", "range"], "--tensorboard alone"),
        (["--csv", "--by", "optim.lr"], "no setting varies"),
        (["--csv", "--single-runs", "--band", "range"], "--single-runs"),
    ],
)
def test_options_that_say_nothing_together_are_refused(options: list[str], word: str) -> None:
    done = export(*options)
    assert done.exit_code == 2
    assert word in done.stderr
    assert not Path("one-001").exists()
