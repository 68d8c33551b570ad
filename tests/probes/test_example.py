"""CONTRIBUTING's example of a probe of one's own does what it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bncore.config.model import Spec
from bncore.config.probes import Cadence, Ics, Probes
from bncore.probes import run
from bncore.probes.base import Probe, in_precision_of
from bncore.probes.run import Measured, ProbeRunner
from bncore.probes.view import StepView

from .step import small_step

CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"


@pytest.fixture
def make() -> Callable[[Spec], Probe]:
    """The row that CONTRIBUTING adds to `PROBES`."""
    found = re.search(
        r"(class Rank\(Probe\):.*?)\nclass Rank\(Cadence\)", CONTRIBUTING.read_text(), re.DOTALL
    )
    assert found is not None
    names: dict[str, Any] = {
        "Any": Any, "Probe": Probe, "StepView": StepView, "in_precision_of": in_precision_of, "torch": torch,
    }  # fmt: skip
    exec(found[1].replace("{...,", "{"), names)
    row: Callable[[Spec], Probe] = names["PROBES"]["rank"]
    return row


def test_it_measures_what_it_says(make: Callable[[Spec], Probe]) -> None:
    view = small_step()
    found = make(Spec()).measure(view)
    weights = [view.before[name].flatten(1).double().numpy() for name in view.weights]
    wanted = [np.linalg.norm(w) ** 2 / np.linalg.norm(w, ord=2) ** 2 for w in weights]
    np.testing.assert_allclose(found["stable_rank"], wanted, rtol=1e-5)
    assert found["layers"] == list(range(1, len(wanted) + 1))


def test_it_runs_as_the_others_do(monkeypatch: pytest.MonkeyPatch, make: Callable[[Spec], Probe]) -> None:
    """With what it inherits alone: it is due, remembers nothing, repeats and does not shrink."""
    monkeypatch.setattr(run, "PROBES", {"ics": make})
    runner = ProbeRunner(Spec(probes=Probes(ics=Ics(every=2))))
    runner.load_state_dict(runner.state_dict())
    runner.set_cadence("ics", Cadence(every=1))
    (measured,) = runner.measure(small_step(), {"ics": {"type": "probe", "group": 1}})
    assert isinstance(measured, Measured)
    assert len(measured.fields["stable_rank"])
    assert not make(Spec()).reduce_memory()
