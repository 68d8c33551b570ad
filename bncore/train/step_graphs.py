"""Whole steps as CUDA graphs: the kernels of a step are captured once and then replayed by a single launch.

A graph repeats exactly the captured operations on exactly the captured memory. Inputs that change between steps
are therefore written there before each replay: the batch, the noise (drawn from its keys as always) and the
learning rate. The graph's key consists of everything that determines which operations a step has; another key
means another graph.

A graph is used only after its first replay has reproduced bitwise what the same step gave without it: parameters,
statistics, the optimizer's state and the numbers. The warm-up steps before a capture are steps of the run itself,
so nothing has to be undone afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bncore.nets.noise import NoiseInPlace
from bncore.recorder import CaptureRefused, CudaRecorder, GraphCache, Recorder, first_line, same_to_the_bit
from bncore.train.state import Batch, DeviceMetrics, TrainState


@dataclass(slots=True)
class _Graph:
    """One captured step."""

    replay: Callable[[], None]
    numbers: Tensor
    """(k,): the values of `DeviceMetrics.tensors`, updated by each replay."""
    penalized: bool
    batch: Batch
    """The memory from which the step reads its batch."""
    noise: NoiseInPlace
    seen: Batch | None = None
    """The batch most recently copied there."""

    def fill(self, batch: Batch, step: int) -> bool:
        """Write this step's batch and noise to the graph's memory; False if the noise now needs other memory."""
        if not self.noise.draw(step):
            return False
        if self.seen is None or any(new is not old for new, old in zip(batch, self.seen, strict=True)):
            for own, new in zip(self.batch, batch, strict=True):
                own.copy_(new)
            self.seen = batch
        return True


class StepGraphs:
    """The steps of a session, made by graphs where possible.

    Arguments:
        session: the training state.
        recorder: captures the graphs; None: use no graphs.
        on_failure: called once with the reason for each kind of step that cannot have a graph.
    """

    def __init__(
        self,
        session: TrainState,
        recorder: Recorder | None = None,
        on_failure: Callable[[str], object] = lambda reason: None,
    ) -> None:
        self._session = session
        self.recorder = recorder
        self._on_failure = on_failure
        self._generation = session.generation
        self._kept: GraphCache[_Graph] = GraphCache(recorder)
        self.replayed = 0
        """Number of steps made by a graph so far."""

    def update(self, step: int, *, record: bool) -> DeviceMetrics:
        """As `TrainState.update`, with bitwise the same numbers and the same state afterwards."""
        session = self._session
        if self.recorder is None or not session.capturable:
            return session.update(step, record=record)
        self._follow()
        batch, lr = session.prepare(step)
        key = (record, batch[0].shape, batch[1].shape, session.fixed_rate(lr))
        graph = self._kept.get(key)
        if graph is not None and graph.fill(batch, step):
            graph.replay()
            self.replayed += 1
            return DeviceMetrics(graph.numbers.clone().unbind(), lr, graph.penalized)
        if self._kept.worth_recording(key):
            return self._tried(key, self.recorder, batch, step, lr, record=record)
        return session.make(batch, step, lr, record=record)

    def _follow(self) -> None:
        """Discard the graphs if the step has become a different computation."""
        if self._session.generation != self._generation:
            self._kept.forget()
            self._generation = self._session.generation

    def _tried(
        self, key: object, recorder: Recorder, batch: Batch, step: int, lr: float, *, record: bool
    ) -> DeviceMetrics:
        """Make a step; then capture it and replay it from the same state. The graph is kept if both agree."""
        session, state = self._session, self._session.tensors()
        self._kept.try_for(key)
        before, reason = _copied(state)
        with recorder.aside():
            update = session.make(batch, step, lr, record=record)
        after, reason = _copied(state) if before else ([], reason)
        if after:
            own = batch[0].clone(memory_format=torch.preserve_format), batch[1].clone()
            noise = NoiseInPlace(session.net.noise_sources)
            try:
                replay, replayed = recorder.record(
                    lambda: torch.stack(session.make(own, step, lr, record=record).tensors)
                )
                _restore(state, before)
                replay()
                if not same_to_the_bit([*state, replayed], [*after, torch.stack(update.tensors)]):
                    raise CaptureRefused("the graph's step is not the same to the bit")
                self._kept.keep(key, _Graph(replay, replayed, update.penalized, own, noise))
            except (RuntimeError, CaptureRefused) as error:  # out-of-memory errors are RuntimeErrors
                _restore(state, after)
                reason = first_line(error)
        if reason:
            self._on_failure(f"no CUDA graph for steps like step {step}: {reason}")
        return update


def graphs_of(session: TrainState, on_failure: Callable[[str], object]) -> StepGraphs:
    """The `StepGraphs` of a session, with graphs if its spec enables them and its device supports them."""
    device = torch.device(session.spec.device)
    wanted = session.spec.cuda_graphs and device.type == "cuda"
    return StepGraphs(session, CudaRecorder(device) if wanted else None, on_failure)


@torch.no_grad()
def _copied(tensors: list[Tensor]) -> tuple[list[Tensor], str]:
    """Copies of all tensors, or an empty list and the reason."""
    try:
        return [tensor.clone() for tensor in tensors], ""
    except torch.OutOfMemoryError as error:
        return [], first_line(error)


@torch.no_grad()
def _restore(tensors: list[Tensor], values: list[Tensor]) -> None:
    torch._foreach_copy_(tensors, values)
