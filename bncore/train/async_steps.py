"""Steps made ahead of their numbers, so that the host never waits for the device within a block of them.

The updates of a block are made before anybody knows whether its losses and gradients are finite. Their numbers
stay on the device until the block is flushed, by one transfer. Where a loss turns out not to be finite, or what a
gradient that is not finite has made of the parameters, the block is taken back to its start and its steps are
recomputed one by one, up to that one: what a run journals, and where it diverges, are the same as without blocks.
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
"""How long a block may become, and with it how late a step is journaled."""
STEPS_AHEAD = {"cuda": 64}
"""The most steps of a block, by the kind of device; a CPU is never ahead."""


class StateBackup:
    """The state of one session at a moment, and the way back to it.

    It covers what a step changes: parameters, statistics and how they are averaged, and the optimizer's state,
    which a step may also begin. Settings are none of it.
    """

    def __init__(self, session: TrainState) -> None:
        self._session = session
        self._copies: list[Tensor] = []
        self._begun: dict[Any, dict[str, Any]] = {}
        self._averaged: list[int] = []

    @torch.no_grad()
    def save(self) -> None:
        """Go back to this moment from now on.

        Raises:
            torch.OutOfMemoryError: there is no room for the copies.
        """
        live = self._session.tensors()
        if not _alike(self._copies, live):
            self._copies = []  # gives room first
            self._copies = [torch.empty_like(tensor) for tensor in live]
        torch._foreach_copy_(self._copies, live)
        self._begun = {parameter: dict(state) for parameter, state in self._session.optimizer.state.items()}
        self._averaged = [norm.averaged for norm in self._session.net.norms]

    @torch.no_grad()
    def restore(self) -> None:
        """Be as at the last `save`."""
        state = self._session.optimizer.state
        state.clear()
        state.update({parameter: dict(begun) for parameter, begun in self._begun.items()})
        for norm, averaged in zip(self._session.net.norms, self._averaged, strict=True):
            norm.averaged = averaged
        torch._foreach_copy_(self._session.tensors(), self._copies)
        self._session.generation += 1  # what a step had begun is forgotten, its memory too


def _alike(ones: list[Tensor], others: list[Tensor]) -> bool:
    return len(ones) == len(others) and all(
        one.shape == other.shape and one.dtype == other.dtype for one, other in zip(ones, others, strict=True)
    )


def steps_ahead(device: str) -> int:
    """The most steps that may be made on a device before their numbers are fetched."""
    return STEPS_AHEAD.get(torch.device(device).type, 1)


@dataclass(frozen=True, slots=True)
class _Made:
    """A step of the block."""

    step: int
    record: bool
    numbers: DeviceMetrics


class AsyncSteps:
    """The steps of one block.

    Arguments:
        session: what is trained.
        most: steps in a block; 1: no step is ever made ahead.
        graphs: make the steps.
    """

    def __init__(self, session: TrainState, most: int, graphs: StepGraphs) -> None:
        self._session = session
        self._graphs = graphs
        self._most = most
        self._made: list[_Made] = []
        self._start = StateBackup(session)
        self._until = 0.0

    @property
    def begun(self) -> bool:
        """Whether there are steps whose numbers nobody has seen yet."""
        return bool(self._made)

    @property
    def full(self) -> bool:
        """Whether the block has to be flushed before another step."""
        return len(self._made) >= self._most or (self.begun and time.monotonic() >= self._until)

    def ready(self) -> bool:
        """Whether a step may be made ahead; never again once memory was too short for a copy of the state."""
        if self._most > 1 and not self._made:
            try:
                self._start.save()
            except torch.OutOfMemoryError:
                self._most = 1
            self._until = time.monotonic() + PATIENCE_S
        return self._most > 1

    def step(self, step: int, *, record: bool) -> None:
        """Make an update without waiting for its numbers, where `ready` says so."""
        self._made.append(_Made(step, record, self._graphs.update(step, record=record)))

    def flush(self) -> Iterator[tuple[int, StepMetrics]]:
        """End the block: the records of its steps, in order. One that is not finite is the last, and the session
        is then as it was before that step's update."""
        made, self._made = self._made, []
        if not made:
            return
        fetched, largest = _fetched([one.numbers for one in made], self._session.largest())
        if math.isfinite(largest) and all(math.isfinite(numbers[0]) for numbers in fetched):
            for one, numbers in zip(made, fetched, strict=True):
                if one.record:
                    yield one.step, one.numbers.record(numbers)
            return
        self._start.restore()
        for one in made:
            record = self._session.step(one.step, record=one.record)
            if record is not None:
                yield one.step, record
                if not record.finite:
                    return


def _fetched(block: list[DeviceMetrics], after: Tensor) -> tuple[list[list[float]], float]:
    """The numbers of every step, and one that is known after them, by one transfer."""
    tensors: list[Tensor] = [tensor for numbers in block for tensor in numbers.tensors]
    flat = iter(torch.stack([*tensors, after]).tolist())
    return [[next(flat) for _ in numbers.tensors] for numbers in block], next(flat)
