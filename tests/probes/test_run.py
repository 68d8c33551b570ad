"""The runner: measurements when they are due, and a failure that harms nothing."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bncore.config.model import Spec
from bncore.config.probes import Cadence, Probes
from bncore.probes import run
from bncore.probes.base import Probe
from bncore.probes.run import PROBES, Failed, Measured, ProbeRunner
from bncore.probes.view import StepView

from .step import frozen, small_step

EVERY = {name: {"every": 1} for name in PROBES}


def runner(**cadences: dict[str, Any]) -> ProbeRunner:
    return ProbeRunner(Spec(probes=Probes.model_validate(cadences)))


class Vandal(Probe):
    """Writes to everything in reach, then fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.memory: dict[str, Any] = {"seen": 0}

    def measure(self, view: StepView) -> dict[str, Any]:
        self.memory = {"seen": 1}
        with torch.no_grad():
            for p in view.net.parameters():
                p.add_(1.0)
                p.grad = torch.ones_like(p)
            for b in view.net.buffers():
                b.mul_(3)
        for norm in view.net.norms:
            norm.averaged = 5
        torch.manual_seed(1)
        raise self.error

    def state_dict(self) -> dict[str, Any]:
        return self.memory

    def load_state_dict(self, state: Any) -> None:
        self.memory = dict(state)


def test_there_is_a_cadence_for_every_probe_and_a_probe_for_every_cadence() -> None:
    assert set(PROBES) == set(Probes.model_fields)


def test_by_default_nothing_is_due() -> None:
    assert not any(runner().due(step) for step in range(100))


@given(st.integers(1, 50), st.integers(0, 10), st.integers(0, 60), st.sets(st.integers(0, 100)))
def test_a_cadence_is_regular_dense_at_the_start_and_at_given_steps(
    every: int, dense: int, until: int, at: set[int]
) -> None:
    cadence = Cadence(every=every, dense_every=dense, dense_until=until, at=tuple(at))
    expected = set(range(0, 101, every)) | at | (set(range(0, min(until, 101), dense)) if dense else set())
    assert {step for step in range(101) if cadence.due(step)} == expected


def test_every_0_switches_off_whatever_else_is_set() -> None:
    assert not any(Cadence(dense_every=1, dense_until=10, at=(3,)).due(step) for step in range(20))


def test_a_cadence_changes_between_steps() -> None:
    measured = runner(ics={"every": 10})
    assert [s for s in range(30) if measured.due(s)] == [0, 10, 20]
    measured.set_cadence("ics", Cadence(every=15))
    assert [s for s in range(30) if measured.due(s)] == [0, 15]
    with pytest.raises(ValueError, match="probe: 'icks'; expected one of ics, landscape"):
        measured.set_cadence("icks", Cadence())


def test_all_that_are_due_measure_and_no_other() -> None:
    view = small_step()
    results = list(runner(ics={"every": 7}, landscape={"every": 1}, activations={"every": 2}).measure(view))
    assert [(type(r), r.name) for r in results] == [(Measured, "ics"), (Measured, "landscape")]


@pytest.mark.parametrize("error", [ArithmeticError("a loss is not finite"), RuntimeError("out of memory")])
def test_a_probe_that_fails_leaves_everything_as_it_was(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    vandal = Vandal(error)
    monkeypatch.setattr(run, "PROBES", {"ics": lambda spec: vandal, "landscape": PROBES["landscape"]})
    view = small_step()
    grads = {name: torch.randn_like(p) for name, p in view.net.named_parameters()}
    for name, p in view.net.named_parameters():
        p.grad = grads[name] if "layers.1" not in name else None
    before, averaged = frozen(view), [norm.averaged for norm in view.net.norms]
    kept = {name: None if p.grad is None else p.grad.clone() for name, p in view.net.named_parameters()}
    failed, measured = ProbeRunner(Spec(probes=Probes.model_validate(EVERY))).measure(view)
    assert failed == Failed("ics", f"{type(error).__name__}: {error}")
    assert isinstance(measured, Measured)
    after = frozen(view)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [norm.averaged for norm in view.net.norms] == averaged
    assert vandal.memory == {"seen": 0}
    for name, p in view.net.named_parameters():
        was = kept[name]
        assert (p.grad is None) == (was is None)
        assert was is None or (p.grad is not None and torch.equal(p.grad, was))


def test_what_probes_remember_survives_a_checkpoint() -> None:
    first, view = runner(**EVERY), small_step()
    list(first.measure(view))
    first.set_cadence("ics", Cadence(every=3, at=(5,)))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = runner()
    second.load_state_dict(torch.load(file, weights_only=True))
    assert [second.due(s) for s in range(9)] == [first.due(s) for s in range(9)]
    for one, other in zip(first.measure(view), second.measure(view), strict=True):
        assert isinstance(one, Measured) and isinstance(other, Measured)
        assert one.fields.keys() == other.fields.keys()
        assert str(one.fields) == str(other.fields)


def test_probes_compute_in_ieee_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    seen: list[str] = []

    class Looks(Vandal):
        def measure(self, view: StepView) -> dict[str, Any]:
            seen.append(convolutions.fp32_precision)
            return {}

    monkeypatch.setattr(run, "PROBES", {"ics": lambda spec: Looks(ValueError())})
    before = convolutions.fp32_precision
    list(runner(ics={"every": 1}).measure(small_step()))
    assert seen == ["ieee"] and convolutions.fp32_precision == before
