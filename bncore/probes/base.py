"""What an instrument is, and a measurement in two halves, of which the first happens on the device and may be
recorded (`bncore.probes.probe_graphs`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from bncore.probes.view import StepView


class Probe(Protocol):
    """An instrument: one step in, the fields of one journal event out. What is inherited here suits one that
    remembers nothing and needs little memory."""

    def measure(self, view: StepView) -> dict[str, Any]:
        """The fields of the event: numpy arrays, numbers and text that depend on the view and on what the
        probe remembers alone (no clock), and leave everything in the view as it is.

        Raises:
            ArithmeticError: what it needs is not finite (see `require_finite`). Any error fails the measurement
            and not the training.
        """
        ...

    def reduce_memory(self) -> bool:
        """Do with less memory from now on; whether it can."""
        return False

    def repeat(self, event: Mapping[str, Any]) -> None:
        """Take as much memory from now on as the measurement of that event did, as its fields tell: those named in
        `bncore.store.lineage.MEMORY`, which replays and forks are given too."""
        return

    def state_dict(self) -> dict[str, Any]:
        """What it remembers between measurements: tensors and plain values only."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        return


Found = Mapping[str, Tensor]


@dataclass(frozen=True)
class Measurement:
    """What a probe has to do at one step."""

    key: object
    """What decides the operations, beside the shapes of what they read."""
    view: StepView
    given: Sequence[Tensor]
    """Whatever else of this step they read."""
    compute: Callable[[StepView, Sequence[Tensor]], Found]
    """The operations: they read the view, `given` and theta_{t+1}, and never wait for the device."""
    tell: Callable[[Found], dict[str, Any]]
    """The journal's fields, from what was computed."""

    def done(self) -> dict[str, Any]:
        """Both halves, one after the other."""
        return self.tell(self.compute(self.view, self.given))


@runtime_checkable
class GraphCapturable(Protocol):
    """A probe whose measurement is a task."""

    def task(self, view: StepView) -> Measurement:
        """What `measure` does."""
        ...


def require_finite(what: str, tensor: Tensor) -> Tensor:
    """`tensor`, if all of it is finite.

    Raises:
        ArithmeticError: it is not; the message begins with `what`.
    """
    if not bool(tensor.isfinite().all()):
        raise ArithmeticError(f"{what} is not finite")
    return tensor


def in_precision_of(view: StepView, fields: Mapping[str, Tensor]) -> dict[str, Any]:
    """Measured tensors as numpy arrays (0-d ones as numbers) in the run's own precision, by one transfer."""
    sizes = [field.numel() for field in fields.values()]
    precision = next(iter(view.before.values())).dtype
    flat = torch.cat([field.flatten() for field in fields.values()]).to(precision).cpu()
    parts = zip(fields.items(), torch.split(flat, sizes), strict=True)
    return {name: part.view(field.shape).numpy()[()] for (name, field), part in parts}
