"""The best value and its step: of a run in `ls` and in queries, of a run and of a group in `show`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from live.factories import events, made_run, write_sweep
from typer.testing import CliRunner

from bncore.measures import MEASURES
from bncore.store.measured import Points, best_of
from bntui.cli.main import app

LOSS = {
    "batch-s0": [4.0, 1.0, 2.0, 1.0],
    "batch-s1": [4.0, 3.0, 0.5, 4.0],
    "none-s0": [2.0, float("nan"), 3.0, 2.5],
}


@pytest.fixture(autouse=True)
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seeds of a variant, one of another."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "runs" / "one-001"
    for name, losses in LOSS.items():
        journal = [event for event in events(4) if event["type"] != "eval"]
        for event in journal:
            if event["type"] == "step":
                value = losses[event["step"]]
                event["loss"] = value if np.isfinite(value) else "nan"
        made_run(path / name, journal)
    write_sweep(path, list(LOSS), name="one")


def bnrun(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=8),
    st.sampled_from(["loss", "accuracy"]),
)
def test_the_best_is_the_first_of_the_best_finite_values(values: list[float], key: str) -> None:
    found = best_of(Points(10.0 * np.arange(len(values)), np.array(values)), MEASURES[key])
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        assert found is None
        return
    best = min(finite) if key == "loss" else max(finite)
    assert found is not None
    assert (found.value, found.step) == (best, 10 * values.index(best))


def test_what_has_no_better_has_no_best() -> None:
    assert best_of(Points(np.zeros(1), np.ones(1)), MEASURES["lr"]) is None


def test_it_is_a_column_a_key_and_a_condition() -> None:
    columns = ["--columns", "best_loss,best_loss_step", "--sort", "best_loss", "--json"]
    rows = json.loads(bnrun("ls", *columns))
    assert [(row["run"], row["best_loss"], row["best_loss_step"]) for row in rows] == [
        ("one-001/batch-s1", 0.5, 2), ("one-001/batch-s0", 1.0, 1), ("one-001/none-s0", 2.0, 0),
    ]  # fmt: skip
    chosen = json.loads(bnrun("ls", "-w", "best_loss<=1 best_loss_step<2", "--json"))
    assert [row["run"] for row in chosen] == ["one-001/batch-s0"]


def test_show_tells_it_of_runs_and_of_the_mean_of_a_group() -> None:
    shown = bnrun("show", "one-001")
    assert "best training loss" in shown
    single, mean = shown[shown.index("best training loss") :].split("mean of")
    assert "0.5 @2" in single
    assert f"{np.sqrt(2.0 * 0.5):g} @2" in mean
