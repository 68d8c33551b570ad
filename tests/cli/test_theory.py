"""`bnrun theory`: what it says of the paper's statements, in both precisions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli.factories import bnrun


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The table as JSON."""
    done = bnrun(
        "theory", "--json", "--steps", "5", cwd=tmp_path_factory.mktemp("theory"), OMP_NUM_THREADS="1"
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def of(rows: list[dict[str, Any]], *words: str) -> list[dict[str, Any]]:
    return [row for row in rows if all(word in row["statement"] for word in words)]


def test_it_speaks_of_random_and_of_trained_networks(rows: list[dict[str, Any]]) -> None:
    assert {"random", "trained"} <= {row["state"] for row in rows}
    assert len({row["network"] for row in rows}) > 1


def test_theorem_4_1_holds_as_corrected_and_not_as_printed(rows: list[dict[str, Any]]) -> None:
    corrected, printed = of(rows, "4.1", "corrected"), of(rows, "4.1", "printed")
    assert corrected
    assert printed
    assert all(row["failed"] == 0 and row["error64"] < 1e-9 and row["error32"] < 1e-2 for row in corrected)
    assert any(row["failed"] for row in printed)


def test_float64_is_nearer_than_float32(rows: list[dict[str, Any]]) -> None:
    equalities = [row for row in rows if row["relation"] == "=" and row["failed"] == 0]
    assert equalities
    assert all(row["error64"] < row["error32"] for row in equalities if row["error32"] > 0)


def test_the_table_is_for_people(tmp_path: Path) -> None:
    said = bnrun("theory", "--steps", "2", cwd=tmp_path, OMP_NUM_THREADS="1")
    assert said.returncode == 0
    for word in ("Thm 4.1", "Thm 4.2", "Thm 4.4", "Lemma 4.5", "as printed", "error float64"):
        assert word.lower() in said.stdout.lower().replace("theorem", "thm"), said.stdout


def test_bad_options_are_refused(tmp_path: Path) -> None:
    assert bnrun("theory", "--seed", "-1", cwd=tmp_path).returncode == 2
    assert bnrun("theory", "--seed", str(2**63), cwd=tmp_path).returncode == 2
    assert bnrun("theory", "--steps", "many", cwd=tmp_path).returncode == 2


def test_it_tells_on_standard_error_what_it_is_at(tmp_path: Path) -> None:
    done = bnrun("theory", "--json", "--steps", "1", cwd=tmp_path, OMP_NUM_THREADS="1")
    assert len(json.loads(done.stdout)) > 10
    reported = done.stderr.splitlines()
    assert reported[:2] == ["theory: importing torch", "theory: mlp 64-64: random (0 of 13 done)"]
    assert reported[-1] == "theory: the lemma's counter-example (12 of 13 done)"
    assert [line.split("(")[1] for line in reported[1:]] == [f"{i} of 13 done)" for i in range(13)]
