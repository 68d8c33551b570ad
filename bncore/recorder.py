"""Recording of GPU work as CUDA graphs, which a single launch then replays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

MOST = 8
"""Most graphs kept; beyond this, the oldest is dropped."""

G = TypeVar("G")


class Recorder(Protocol):
    """Records launched operations as graphs.

    A graph repeats exactly the recorded operations on exactly the recorded memory. Inputs that change are
    therefore copied into that memory before each replay; a change in which operations run needs another graph.
    """

    def aside(self) -> AbstractContextManager[None]:
        """A context for work that prepares a recording."""

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """Record `work`; return a function that replays its operations, and the tensor that then holds its
        result."""

    def wait(self) -> None:
        """Wait until no graph is running, so that one may be dropped."""


class CudaRecorder:
    """CUDA graphs of one device, recorded on a separate stream and in a shared memory pool. The pool holds nothing
    that must last: results are copied out of it after each replay."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Run on the recording stream, so that libraries allocate their workspaces for it before a recording."""
        present = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(present)
        with torch.cuda.stream(self._stream):
            yield
        present.wait_stream(self._stream)

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """Record `work` as the protocol states; nothing is executed yet.

        Raises:
            RuntimeError: something in `work` synchronizes with the device, or the device is out of memory.
        """
        graph = torch.cuda.CUDAGraph()
        present = torch.cuda.current_stream(self._stream.device)
        cause: list[Exception] = []
        try:
            # Capture errors of this thread only: the heartbeat and the inbox have their own threads.
            with torch.cuda.graph(
                graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
            ):
                try:
                    result = work()
                except Exception as error:
                    cause.append(error)
                    raise
        except RuntimeError as error:  # ending a failed capture raises another error
            raise (cause[0] if cause else error) from None
        finally:
            torch.cuda.set_stream(present)  # a capture that cannot be ended leaves its stream current
        return graph.replay, result

    def wait(self) -> None:
        """Synchronize the recording stream's device."""
        torch.cuda.synchronize(self._stream.device)


class GraphCache(Generic[G]):
    """Graphs by a key that identifies their work.

    A key is worth recording from its second use on: the first creates state that later ones find (such as an
    optimizer's), and some keys are used only once. A failed attempt is not repeated.

    Arguments:
        recorder: the recorder of the graphs; None: there are no graphs.
    """

    def __init__(self, recorder: Recorder | None) -> None:
        self._recorder = recorder
        self._graphs: dict[object, G | None] = {}
        self._met: set[object] = set()

    def __len__(self) -> int:
        return sum(graph is not None for graph in self._graphs.values())

    def get(self, key: object) -> G | None:
        """The graph for this key, or None."""
        return self._graphs.get(key)

    def worth_recording(self, key: object) -> bool:
        """Whether to record a graph now: for a key used before and never tried, or to replace a graph that no
        longer fits."""
        if key in self._graphs:
            return self._graphs[key] is not None
        if key in self._met:
            return True
        self._met = self._met if len(self._met) < MOST else set()
        self._met.add(key)
        return False

    def try_for(self, key: object) -> None:
        """Make room for a graph for this key; there is none until `keep`."""
        self._wait()
        if len(self._graphs) >= MOST:
            del self._graphs[next(iter(self._graphs))]
        self._graphs[key] = None

    def keep(self, key: object, graph: G) -> None:
        """Store a graph that was recorded and verified."""
        self._graphs[key] = graph

    def forget(self) -> None:
        """Drop all graphs, because their work is no longer done or their memory is needed."""
        self._wait()
        self._graphs.clear()
        self._met.clear()

    def _wait(self) -> None:
        if self._recorder is not None:
            self._recorder.wait()


class CaptureRefused(Exception):
    """Raised if work cannot be captured in a graph; the message says why."""


def same_to_the_bit(ones: list[Tensor], others: list[Tensor]) -> bool:
    """Whether all tensors are exactly equal; NaNs count as equal."""
    return all(
        torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
        for one, other in zip(ones, others, strict=True)
    )


def first_line(error: BaseException) -> str:
    """First line of an error message, without the details that torch appends."""
    return (str(error).splitlines() or [type(error).__name__])[0]
