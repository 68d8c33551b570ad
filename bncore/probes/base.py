"""The interface of a probe, and measurements in two halves.

The first half runs on the device and may be captured in a graph (`bncore.probes.probe_graphs`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from bncore.probes.view import StepView


class Probe(Protocol):
    """An instrument that maps one step to the fields of one journal event.

    The default methods suit a probe without state that needs little memory.
    """

    def measure(self, view: StepView) -> dict[str, Any]:
        """The fields of the event: numpy arrays, numbers and text.

        They depend only on the view and the probe's state (no clock). The view must not be modified.

        Raises:
            ArithmeticError: a required value is not finite (see `require_finite`). Any error fails the
                measurement, not the training.
        """
        ...

    def task(self, view: StepView) -> Measurement | None:
        """The work that `measure` does, in two halves; None: it cannot be captured in a graph."""
        return None

    def reduce_memory(self) -> bool:
        """Use less memory from now on; return whether that is possible."""
        return False

    def repeat(self, event: Mapping[str, Any]) -> None:
        """Use as much memory from now on as that event's measurement did.

        Its fields named in `bncore.store.lineage.MEMORY` tell; replays and forks receive them too.
        """
        return

    def state_dict(self) -> dict[str, Any]:
        """The state kept between measurements: only tensors and plain values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state returned by `state_dict`."""
        return


Found = Mapping[str, Tensor]


@dataclass(frozen=True)
class Measurement:
    """The work of a probe at one step."""

    key: object
    """Identifies the operations, together with the shapes of their inputs."""
    view: StepView
    given: Sequence[Tensor]
    """Further inputs of this step's operations."""
    compute: Callable[[StepView, Sequence[Tensor]], Found]
    """The operations: they read the view, `given` and theta_{t+1}, and never wait for the device."""
    finish: Callable[[Found], dict[str, Any]]
    """Converts the computed tensors to the journal's fields."""

    def done(self) -> dict[str, Any]:
        """Run both halves."""
        return self.finish(self.compute(self.view, self.given))


def require_finite(what: str, tensor: Tensor) -> Tensor:
    """Return `tensor` if all its values are finite.

    Raises:
        ArithmeticError: some value is not finite; the message begins with `what`.
    """
    if not bool(tensor.isfinite().all()):
        raise ArithmeticError(f"{what} is not finite")
    return tensor


def in_precision_of(view: StepView, fields: Mapping[str, Tensor]) -> dict[str, Any]:
    """Measured tensors as numpy arrays (0-d ones as numbers) in the run's own precision, in one transfer."""
    sizes = [field.numel() for field in fields.values()]
    precision = next(iter(view.before.values())).dtype
    flat = torch.cat([field.flatten() for field in fields.values()]).to(precision).cpu()
    parts = zip(fields.items(), torch.split(flat, sizes), strict=True)
    return {name: part.view(field.shape).numpy()[()] for (name, field), part in parts}
