"""Asynchronous steps: updates are issued in blocks before their numbers are fetched, so that the host does not
wait for the device within a block.

The updates of a block are made before it is known whether its losses and gradients are finite. Their numbers stay
on the device until one transfer flushes the block. If a loss is not finite, or a non-finite gradient has made the
parameters so, the state returns to the start of the block and its steps are recomputed one by one, up to the
non-finite one. What a run journals, and where it diverges, is therefore the same as without blocks.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bncore.train.state import DeviceMetrics, StepMetrics, TrainState
from bncore.train.step_graphs import StepGraphs

PATIENCE_S = 0.25
"""Maximum duration of a block in seconds, which limits how late a step is journaled."""
STEPS_AHEAD = {"cuda": 64}
"""Maximum number of steps in a block, by device type; on a CPU, every step is synchronous."""


class StateBackup:
    """A backup of a session's state, from which it can be restored.

    It covers what a step changes: parameters, running statistics and the counts of their averaging, and the
    optimizer's state, which a step may also create. Settings are not included.
    """

    def __init__(self, session: TrainState) -> None:
        self._session = session
        self._copies: list[Tensor] = []
        self._optimizer_state: dict[Any, dict[str, Any]] = {}
        self._averaged: list[int] = []

    @torch.no_grad()
    def save(self) -> None:
        """Save the present state, to which `restore` returns.

        Raises:
            torch.OutOfMemoryError: there is not enough memory for the copies.
        """
        live = self._session.tensors()
        if not _alike(self._copies, live):
            self._copies = []  # frees memory first
            self._copies = [torch.empty_like(tensor) for tensor in live]
        torch._foreach_copy_(self._copies, live)
        self._optimizer_state = {
            parameter: dict(state) for parameter, state in self._session.optimizer.state.items()
        }
        self._averaged = [norm.averaged for norm in self._session.net.norms]

    @torch.no_grad()
    def restore(self) -> None:
        """Return to the state of the last `save`."""
        state = self._session.optimizer.state
        state.clear()
        state.update({parameter: dict(saved) for parameter, saved in self._optimizer_state.items()})
        for norm, averaged in zip(self._session.net.norms, self._averaged, strict=True):
            norm.averaged = averaged
        torch._foreach_copy_(self._session.tensors(), self._copies)
        self._session.generation += 1  # optimizer state created since then is gone, and so is its memory


def _alike(ones: list[Tensor], others: list[Tensor]) -> bool:
    return len(ones) == len(others) and all(
        one.shape == other.shape and one.dtype == other.dtype for one, other in zip(ones, others, strict=True)
    )


def steps_ahead(device: str) -> int:
    """Maximum number of steps on a device before their numbers must be fetched."""
    return STEPS_AHEAD.get(torch.device(device).type, 1)


@dataclass(frozen=True, slots=True)
class _PendingStep:
    """A step of the block, with its numbers still on the device."""

    step: int
    record: bool
    numbers: DeviceMetrics


class AsyncSteps:
    """The present block of asynchronous steps.

    Arguments:
        session: the training state.
        most: maximum number of steps in a block; 1: every step is synchronous.
        graphs: makes the steps.
    """

    def __init__(self, session: TrainState, most: int, graphs: StepGraphs) -> None:
        self._session = session
        self._graphs = graphs
        self._most = most
        self._pending: list[_PendingStep] = []
        self._start = StateBackup(session)
        self._until = 0.0

    @property
    def pending(self) -> bool:
        """Whether there are steps whose numbers have not been fetched."""
        return bool(self._pending)

    @property
    def full(self) -> bool:
        """Whether the block must be flushed before the next step."""
        return len(self._pending) >= self._most or (self.pending and time.monotonic() >= self._until)

    def ready(self) -> bool:
        """Whether the next step may be asynchronous; never again once memory was too short to copy the state."""
        if self._most > 1 and not self._pending:
            try:
                self._start.save()
            except torch.OutOfMemoryError:
                self._most = 1
            self._until = time.monotonic() + PATIENCE_S
        return self._most > 1

    def step(self, step: int, *, record: bool) -> None:
        """Make an update without waiting for its numbers; requires `ready`."""
        self._pending.append(_PendingStep(step, record, self._graphs.update(step, record=record)))

    def flush(self) -> Iterator[tuple[int, StepMetrics]]:
        """End the block and yield the records of its steps, in order.

        A non-finite record is the last one. The session is then in the state before that step's update.
        """
        steps, self._pending = self._pending, []
        if not steps:
            return
        fetched, largest = _fetched([one.numbers for one in steps], self._session.largest())
        if math.isfinite(largest) and all(math.isfinite(numbers[0]) for numbers in fetched):
            for one, numbers in zip(steps, fetched, strict=True):
                if one.record:
                    yield one.step, one.numbers.record(numbers)
            return
        self._start.restore()
        for one in steps:
            record = self._session.step(one.step, record=one.record)
            if record is not None:
                yield one.step, record
                if not record.finite:
                    return


def _fetched(block: list[DeviceMetrics], after: Tensor) -> tuple[list[list[float]], float]:
    """Fetch the numbers of every step, and the scalar `after`, in one transfer."""
    tensors: list[Tensor] = [tensor for numbers in block for tensor in numbers.tensors]
    flat = iter(torch.stack([*tensors, after]).tolist())
    return [[next(flat) for _ in numbers.tensors] for numbers in block], next(flat)
