"""Run the probes of a run when they are due, and handle those that fail.

To add a probe, write a file, add a row to `PROBES` and add its settings to `bncore.config.probes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from bncore.config.model import Spec
from bncore.config.probes import Cadence
from bncore.probes.activations import ActivationsProbe
from bncore.probes.base import Probe
from bncore.probes.guard import RandomSnapshot, ieee_float32, is_out_of_memory
from bncore.probes.ics import IcsProbe
from bncore.probes.landscape import LandscapeProbe
from bncore.probes.probe_graphs import ProbeGraphs
from bncore.probes.sharpness import SharpnessProbe
from bncore.probes.theory.probe import TheoryProbe
from bncore.probes.view import StepView

PROBES: dict[str, Callable[[Spec], Probe]] = {
    "ics": lambda spec: IcsProbe(spec.probes.ics, spec.loss),
    "landscape": lambda spec: LandscapeProbe(spec.probes.landscape, spec.probes.sharpness),
    "activations": lambda spec: ActivationsProbe(spec.probes.activations),
    "theory": lambda spec: TheoryProbe(spec.probes.theory),
    "sharpness": lambda spec: SharpnessProbe(spec.probes.sharpness),
}
"""Builders by the name of the settings in `spec.probes`, which is also the `name` in the journal's events."""


@dataclass(frozen=True)
class Measured:
    """A probe's measurement: the event `probe{name, **fields}`."""

    name: str
    fields: dict[str, Any]


@dataclass(frozen=True)
class Failed:
    """A probe that could not measure: the event `probe_failed{name, reason}`."""

    name: str
    reason: str
    short_of_memory: bool = False
    """Whether memory was short, so that it might work at another time or on another machine; the event says so."""

    @property
    def fields(self) -> dict[str, Any]:
        """The event's fields."""
        fields = {"name": self.name, "reason": self.reason}
        return {**fields, "short_of_memory": True} if self.short_of_memory else fields


NOTHING: Mapping[str, Mapping[str, Any]] = {}


class ProbeRunner:
    """The probes of one run.

    Arguments:
        spec: the run's specification; each of its `probes` is built and keeps the cadence given there until
            `set_cadence`.
        recorded: runs measurements through graphs; default: no graphs.
    """

    def __init__(self, spec: Spec, recorded: ProbeGraphs | None = None) -> None:
        self._recorded = recorded or ProbeGraphs()
        self._cadences: dict[str, Cadence] = {name: getattr(spec.probes, name) for name in PROBES}
        self._probes = {name: make(spec) for name, make in PROBES.items()}

    def due(self, step: int) -> tuple[str, ...]:
        """Names of the probes that measure at `step`; if empty, the step needs no view."""
        return tuple(name for name, cadence in self._cadences.items() if cadence.due(step))

    def set_cadence(self, name: str, cadence: Cadence) -> None:
        """Change a probe's cadence from now on.

        Raises:
            ValueError: there is no such probe.
        """
        if name not in self._probes:
            raise ValueError(f"probe: {name!r}; expected one of {', '.join(self._probes)}")
        self._cadences[name] = cadence

    def change(self, spec: Spec) -> None:
        """Use the cadences of another spec from now on; the probes keep their state."""
        self._recorded.forget()
        for name in PROBES:
            self.set_cadence(name, getattr(spec.probes, name))

    def measure(
        self, view: StepView, earlier: Mapping[str, Mapping[str, Any]] = NOTHING
    ) -> Iterator[Measured | Failed]:
        """The measurements due at `view.step`, one at a time.

        Any exception of a probe yields `Failed`; parameters, buffers, gradients, generators and the probe's state
        are then restored. If memory is short, a probe that can use less memory tries again, and uses less from
        then on.

        Arguments:
            earlier: earlier events of this step by probe name, from this run before it was resumed or from the run
                that it repeats. A measurement for which memory was then too short is skipped, and one that
                succeeded uses the same amount of memory again.
        """
        due = self.due(view.step)
        try:
            with view.processes.together():
                snapshot = RandomSnapshot(view.net)
        except Exception as error:
            yield from self.without_memory(view.step, error)
            return
        for name in due:
            event = earlier.get(name, {})
            if event.get("short_of_memory"):
                yield Failed(name, str(event["reason"]), short_of_memory=True)
                continue
            self._probes[name].repeat(event)
            yield self._measured(name, view, snapshot)

    def without_memory(self, step: int, error: Exception) -> Iterator[Failed]:
        """The failures of all probes due at `step` when memory is too short for the copies that each needs.

        Raises:
            Exception: `error`, if it does not mean that memory ran out.
        """
        if not is_out_of_memory(error):
            raise error
        for name in self.due(step):
            yield Failed(name, f"{type(error).__name__}: {error}", short_of_memory=True)

    def _measured(self, name: str, view: StepView, snapshot: RandomSnapshot) -> Measured | Failed:
        probe = self._probes[name]
        while True:
            memory = probe.state_dict()
            try:
                with view.processes.together(), ieee_float32():
                    return Measured(name, self._recorded.measure(name, probe, view))
            except Exception as error:
                snapshot.restore()
                probe.load_state_dict(memory)
                short = is_out_of_memory(error)
                reason = f"{type(error).__name__}: {error}"
            if short:
                self._recorded.forget()
                torch.cuda.empty_cache()  # on a GPU, releases what the failed attempt had reserved
            if not (short and view.processes.count == 1 and probe.reduce_memory()):
                return Failed(name, reason, short_of_memory=short)

    def state_dict(self) -> dict[str, Any]:
        """The current cadences and every probe's state: tensors and plain values."""
        return {
            "cadences": {
                name: cadence.model_dump(include=set(Cadence.model_fields))
                for name, cadence in self._cadences.items()
            },
            "probes": {name: probe.state_dict() for name, probe in self._probes.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state returned by `state_dict`."""
        for name, plain in state["cadences"].items():
            self.set_cadence(name, Cadence.model_validate(plain))
        for name, remembered in state["probes"].items():
            self._probes[name].load_state_dict(remembered)
