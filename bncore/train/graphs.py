"""Whole steps as graphs: what a step launches on a GPU is recorded once and then made again by a single launch.

A graph repeats the very operations on the very memory that were recorded. What may differ from step to step is
therefore put there before each replay: the batch, the noise (drawn as ever, under its keys) and the learning rate.
What decides which operations a step has is the graph's key; where that changes, other graphs are used.

A graph is trusted after its first replay has given, to the bit, what the step has given without it: parameters,
statistics, the optimiser's state and the numbers. The steps that prepare a recording are the run's own, so nothing
has to be undone after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from bncore.nets.noise import NoiseSource
from bncore.train.session import Batch, Numbers, Session

MOST = 8
"""Graphs that are kept; beyond them, the one that was recorded first is let go."""


class Recorder(Protocol):
    """Makes graphs of what is launched."""

    def aside(self) -> AbstractContextManager[None]:
        """Where a step is made that prepares a recording."""

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """A function that makes all operations of `work` again, and the memory where its result then lies."""

    def wait(self) -> None:
        """Return when no graph is at work any more, so that one may be let go."""


class CudaRecorder:
    """CUDA graphs of one device, on a stream of their own and in shared memory, which nothing that must last lies
    in: results are copied out of it after each replay."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """The stream of the recordings: libraries allocate their workspaces for it before one begins."""
        present = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(present)
        with torch.cuda.stream(self._stream):
            yield
        present.wait_stream(self._stream)

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """As the protocol says; nothing is executed yet.

        Raises:
            RuntimeError: something in `work` waits for the device, or the device has no memory left.
        """
        graph = torch.cuda.CUDAGraph()
        # Of this thread only: the heartbeat and the inbox have threads of their own.
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            result = work()
        return graph.replay, result

    def wait(self) -> None:
        """As the protocol says."""
        torch.cuda.synchronize(self._stream.device)


class Refused(Exception):
    """Why a step cannot be had by a graph."""


@dataclass(slots=True)
class _Graph:
    """One recorded step."""

    replay: Callable[[], None]
    numbers: Tensor
    """[k]: what `Numbers.tensors` holds, after each replay."""
    penalised: bool
    batch: Batch
    """The memory that the step reads its batch from."""
    noise: list[tuple[NoiseSource, Tensor]]
    """Each source, and the memory that the step reads its shift from, in the shape of what it disturbs."""
    seen: Batch | None = None
    """The batch that was copied last."""

    def fill(self, batch: Batch, step: int) -> bool:
        """Put what this step has of its own into the graph's memory; False where noise has got other memory."""
        for source, shift in self.noise:
            if source.draws(shift, step)[0].data_ptr() != shift.data_ptr():
                return False
        if self.seen is None or any(new is not old for new, old in zip(batch, self.seen, strict=True)):
            for own, new in zip(self.batch, batch, strict=True):
                own.copy_(new)
            self.seen = batch
        return True


class Graphs:
    """The steps of a session, by graphs wherever one can be had.

    Arguments:
        session: what is trained.
        recorder: makes the graphs; None: there are none.
        tell: called with the reason, once for each kind of step that has to do without.
    """

    def __init__(
        self,
        session: Session,
        recorder: Recorder | None = None,
        tell: Callable[[str], object] = lambda reason: None,
    ) -> None:
        self._session = session
        self._recorder = recorder
        self._tell = tell
        self._generation = session.generation
        self._graphs: dict[object, _Graph | None] = {}
        self._met: set[object] = set()
        self.replayed = 0
        """Steps made by a graph so far."""

    def update(self, step: int, *, record: bool) -> Numbers:
        """As `Session.update`: the same numbers and the same state after it, to the bit."""
        session = self._session
        if self._recorder is None or not session.repeatable:
            return session.update(step, record=record)
        self._follow(self._recorder)
        batch, lr = session.prepare(step)
        key = (record, batch[0].shape, batch[1].shape, session.fixed_rate(lr))
        graph = self._graphs.get(key)
        if graph is not None and graph.fill(batch, step):
            graph.replay()
            self.replayed += 1
            return Numbers(graph.numbers.clone().unbind(), lr, graph.penalised)
        if graph is not None or (key in self._met and key not in self._graphs):
            return self._tried(key, self._recorder, batch, step, lr, record=record)
        # A first step makes the optimiser's state; and some keys are met but once.
        self._met = self._met if len(self._met) < MOST else set()
        self._met.add(key)
        return session.make(batch, step, lr, record=record)

    def _follow(self, recorder: Recorder) -> None:
        """Let go what was recorded of a step that is no longer made."""
        if self._session.generation != self._generation:
            recorder.wait()
            self._graphs.clear()
            self._met.clear()
            self._generation = self._session.generation

    def _tried(
        self, key: object, recorder: Recorder, batch: Batch, step: int, lr: float, *, record: bool
    ) -> Numbers:
        """Make a step; then record it and make it again by the graph, which is kept if the two agree."""
        session, state = self._session, self._session.tensors()
        recorder.wait()
        if len(self._graphs) >= MOST:
            del self._graphs[next(iter(self._graphs))]
        self._graphs[key] = None
        before, reason = _copied(state)
        with recorder.aside():
            made = session.make(batch, step, lr, record=record)
        after, reason = _copied(state) if before else ([], reason)
        if after:
            own = batch[0].clone(memory_format=torch.preserve_format), batch[1].clone()
            noise = [(source, source.drawn) for source in session.net.noise_sources]
            try:
                replay, again = recorder.record(
                    lambda: torch.stack(session.make(own, step, lr, record=record).tensors)
                )
                _restore(state, before)
                replay()
                if not _same([*state, again], [*after, torch.stack(made.tensors)]):
                    raise Refused("the graph's step is not the same to the bit")
                self._graphs[key] = _Graph(replay, again, made.penalised, own, noise)
            except (RuntimeError, Refused) as error:  # memory that runs out is among the former
                _restore(state, after)
                reason = _first_line(error)
        if reason:
            self._tell(f"no CUDA graph for steps as the {step}-th: {reason}")
        return made


def graphs_of(session: Session, tell: Callable[[str], object]) -> Graphs:
    """The steps of a session as its spec and its device have them; see `Graphs`."""
    device = torch.device(session.spec.device)
    wanted = session.spec.cuda_graphs and device.type == "cuda"
    return Graphs(session, CudaRecorder(device) if wanted else None, tell)


@torch.no_grad()
def _copied(tensors: list[Tensor]) -> tuple[list[Tensor], str]:
    """Copies of all, or none and the reason."""
    try:
        return [tensor.clone() for tensor in tensors], ""
    except torch.OutOfMemoryError as error:
        return [], _first_line(error)


@torch.no_grad()
def _restore(tensors: list[Tensor], values: list[Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)


def _same(ones: list[Tensor], others: list[Tensor]) -> bool:
    """Whether all are equal to the bit, but for what a NaN consists of."""
    return all(
        torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
        for one, other in zip(ones, others, strict=True)
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
