"""A measure is declared once, and is then everywhere; one of a probe of one's own, too."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli.factories import clean_environment

from bncore.measures import MEASURES, SHOWN, markdown
from bncore.report.paper import FILES

TESTS = Path(__file__).parents[1]


def test_the_documentation_is_that_of_the_catalogue() -> None:
    written = (TESTS.parent / "docs" / "reference" / "measures.md").read_text()
    assert written == markdown(), "python -m bncore.measures > docs/reference/measures.md"


def test_every_measure_has_a_name_of_its_own() -> None:
    titles = [measure.title for measure in MEASURES.values()]
    assert len(set(titles)) == len(titles)
    assert len({(m.table, m.field, m.over) for m in MEASURES.values()}) == len(titles)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", key) for key in MEASURES)
    assert {measure.table.partition(":")[0] for measure in MEASURES.values()} == {
        "step",
        "eval",
        "probe",
        "machine",
    }


def test_the_paper_s_curves_are_of_measures() -> None:
    assert {key for key, _ in FILES} <= MEASURES.keys()


def test_the_accuracy_of_a_batch_has_one_name() -> None:
    assert MEASURES["accuracy"].title == "Training accuracy"
    assert MEASURES["beta"].title == "Effective β-smoothness"
    assert {"loss", "accuracy", "beta", "ics_l2"} <= {measure.key for measure in SHOWN}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Where a probe of one's own is found."""
    folder = tmp_path_factory.mktemp("own")
    environment = clean_environment(folder, PYTHONPATH=f"{TESTS.parent}:{TESTS}", PYTHONUTF8="1")
    code = "import measures.own_probe, measures.places"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_probe_of_ones_own_is_plotted_by_show(places: dict[str, Any]) -> None:
    assert "Stable rank, layer 3 of 6 on made" in places["show"]
    assert "Spread of the ranks on made" in places["show"]


def test_a_probe_of_ones_own_has_charts(places: dict[str, Any]) -> None:
    assert places["charts"] == ["Stable rank, layer 3 of 6", "Spread of the ranks"]
    assert places["curves"] == [1, 1]


def test_a_probe_of_ones_own_is_offered_by_the_picker(places: dict[str, Any]) -> None:
    for title in ("■ Training loss", "□ Stable rank", "□ Spread of the ranks"):
        assert title in places["picker"]


def test_a_probe_of_ones_own_is_on_the_layers_page(places: dict[str, Any]) -> None:
    assert places["layers"] == ["stable_rank"], "the other one is no layer's"
    assert places["heat"] == ["a-s0, Stable rank", [[1.0, 2.0, 3.0]] * 2]


def test_a_probe_of_ones_own_is_exported(places: dict[str, Any]) -> None:
    spread, rank = places["export"]
    assert "Spread of the ranks" in spread
    assert "Stable rank, layer 3" in rank


def test_a_probe_of_ones_own_has_tags_and_is_described(places: dict[str, Any]) -> None:
    layers = {f"rank/stable_rank/layer_{layer:02}": "Stable rank: nobody's" for layer in (2, 3, 5)}
    assert places["board"] == {**layers, "rank/spread": "Spread of the ranks"}


def test_a_probe_of_ones_own_is_in_the_report(places: dict[str, Any]) -> None:
    assert {"Stable rank, layer 3", "Spread of the ranks"} <= set(places["overview"])


def test_a_probe_of_ones_own_is_in_the_table_of_measures(places: dict[str, Any]) -> None:
    lines = [line.split(" | ") for line in places["documentation"].splitlines()]
    (cells,) = (cells for cells in lines if cells[0] == "| `stable_rank`")
    assert cells[1:6] == ["Stable rank", "‖W‖_F²/‖W‖²", "", "`probe:rank` stable_rank", "layer"]
