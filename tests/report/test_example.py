"""CONTRIBUTING's example of a claim of one's own does what it says."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from bncore.report.claims import comparing, evidence
from bncore.report.claims.judging import judge
from bncore.report.quantities import Quantity, log_of, mean_of
from bncore.store.journal import Journal
from report.factories import report, sweep_of

CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"


@pytest.mark.parametrize(
    ("plain", "accuracy", "verdict"),
    [(9.0, 0.5, "supported"), (0.5, 0.5, "contradicted"), (9.0, 0.1, "too early")],
)
def test_the_example_of_a_claim_is_judged(
    tmp_path: Path, plain: float, accuracy: float, verdict: str
) -> None:
    found = re.search(
        r"(    def flatter\(at: AtRate\).*?)\nA figure of the report",
        CONTRIBUTING.read_text(),
        re.DOTALL,
    )
    assert found
    names: dict[str, Any] = {
        "Quantity": Quantity,
        "log_of": log_of,
        "mean_of": mean_of,
    }
    names |= vars(evidence) | vars(comparing)
    exec(dedent(found[1]), names)
    sweep = sweep_of(tmp_path / "made", {"norm": "none", "accuracy": accuracy}, {"norm": "batch"})
    for run in sweep.runs():
        journal = Journal(run.journal_file)
        value = plain if run.path.name.startswith("none") else 1.0
        for step in (10, 20, 30):
            journal.append("probe", step, name="sharpness", eigenvalue=value)
        journal.close()
    document = report([sweep])
    assert judge(names["CLAIM"], document.settings).verdict == verdict
