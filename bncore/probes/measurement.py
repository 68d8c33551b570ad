"""A measurement in two halves, of which the first happens on the device and may be recorded (`recorded`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from bncore.probes.view import StepView

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
