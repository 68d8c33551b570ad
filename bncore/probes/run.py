"""Running the instruments of a run: when they are due, and what happens to one that fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bncore.probes.guard import Snapshot, ieee_float32
from bncore.probes.table import PROBES
from bncore.probes.view import StepView
from bncore.spec.model import Spec
from bncore.spec.probes import Cadence


@dataclass(frozen=True)
class Measured:
    """One probe's measurement: the event `probe{name, **fields}`."""

    name: str
    fields: dict[str, Any]


@dataclass(frozen=True)
class Failed:
    """A probe that could not measure: the event `probe_failed{name, reason}`."""

    name: str
    reason: str


class ProbeRunner:
    """The instruments of one run.

    Arguments:
        spec: the run; each of its `probes` is built and keeps the cadence given there until `set_cadence`.
    """

    def __init__(self, spec: Spec) -> None:
        self._cadences: dict[str, Cadence] = {name: getattr(spec.probes, name) for name in PROBES}
        self._probes = {name: make(spec) for name, make in PROBES.items()}

    def due(self, step: int) -> tuple[str, ...]:
        """Names of the probes that measure at `step`; none: the step needs no view."""
        return tuple(name for name, cadence in self._cadences.items() if cadence.due(step))

    def set_cadence(self, name: str, cadence: Cadence) -> None:
        """Measure at other steps from now on.

        Raises:
            ValueError: there is no such probe.
        """
        if name not in self._probes:
            raise ValueError(f"probe: {name!r}; expected one of {', '.join(self._probes)}")
        self._cadences[name] = cadence

    def change(self, spec: Spec) -> None:
        """Measure at the cadences of another spec from now on; what the probes remember stays."""
        for name in PROBES:
            self.set_cadence(name, getattr(spec.probes, name))

    def measure(self, view: StepView) -> Iterator[Measured | Failed]:
        """The measurements due at `view.step`, one at a time.

        A probe that raises, whatever it raises, is answered by `Failed`; parameters, buffers, gradients,
        generators and what the probe remembers are then put back as they were.
        """
        due = self.due(view.step)
        snapshot = Snapshot(view.net) if due else None
        for name in due:
            assert snapshot is not None
            probe = self._probes[name]
            memory = probe.state_dict()
            try:
                with ieee_float32():
                    fields = probe.measure(view)
            except Exception as error:
                snapshot.restore()
                probe.load_state_dict(memory)
                yield Failed(name, f"{type(error).__name__}: {error}")
            else:
                yield Measured(name, fields)

    def state_dict(self) -> dict[str, Any]:
        """Cadences as they are now and what every probe remembers: tensors and plain values."""
        return {
            "cadences": {name: _plain(cadence) for name, cadence in self._cadences.items()},
            "probes": {name: probe.state_dict() for name, probe in self._probes.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        for name, plain in state["cadences"].items():
            self.set_cadence(name, Cadence.model_validate(plain))
        for name, remembered in state["probes"].items():
            self._probes[name].load_state_dict(remembered)


def _plain(cadence: Cadence) -> dict[str, Any]:
    return {field: getattr(cadence, field) for field in Cadence.model_fields}
