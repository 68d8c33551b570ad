"""On a network of ordinary size, every probe is as exact as docs/explanation/numerics.md says."""

from __future__ import annotations

import pytest

from .error_budget import PROBES, views


@pytest.mark.slow  # a VGG-11 by plain float64 loops, half a minute each
@pytest.mark.parametrize(("precision", "budget"), [("float32", 1e-3), ("float64", 1e-5)])
def test_every_probe_keeps_its_budget(precision: str, budget: float) -> None:
    (view,) = views("batch", precision, steps=(0,))
    errors = {name: error for probe in PROBES for name, error in probe(view).items()}
    assert {name: error for name, error in errors.items() if not error < budget} == {}
