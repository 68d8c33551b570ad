"""What a GPU is given to do, recorded once and then replayed by a single launch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

MOST = 8
"""Graphs that are kept; beyond them, the one that was recorded first is let go."""

G = TypeVar("G")


class Recorder(Protocol):
    """Makes graphs of what is launched.

    A graph repeats the very operations on the very memory that were recorded. What may differ from one time to the
    next is therefore put there before each replay; what decides which operations there are needs another graph.
    """

    def aside(self) -> AbstractContextManager[None]:
        """Where work is done that prepares a recording."""

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """A function that makes all operations of `work` again, and the memory where its result then lies."""

    def wait(self) -> None:
        """Return when no graph is at work any more, so that one may be let go."""


class CudaRecorder:
    """CUDA graphs of one device, on a stream of their own and in shared memory, which nothing that must last lies
    in: results are copied out of it after each replay."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)
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
        present = torch.cuda.current_stream(self._stream.device)
        cause: list[Exception] = []
        try:
            # Of this thread only: the heartbeat and the inbox have threads of their own.
            with torch.cuda.graph(
                graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
            ):
                try:
                    result = work()
                except Exception as error:
                    cause.append(error)
                    raise
        except RuntimeError as error:  # ending a capture that has failed raises another one
            raise (cause[0] if cause else error) from None
        finally:
            torch.cuda.set_stream(present)  # torch stays on the capture's where that could not be ended
        return graph.replay, result

    def wait(self) -> None:
        """As the protocol says."""
        torch.cuda.synchronize(self._stream.device)


class GraphCache(Generic[G]):
    """Graphs by a key of what they do.

    A key is worth a graph from its second time on: the first one makes what later ones find (an optimizer's state,
    say), and some keys are met but once. What was tried without success is not tried again.

    Arguments:
        recorder: what the graphs were made by; None: there are none.
    """

    def __init__(self, recorder: Recorder | None) -> None:
        self._recorder = recorder
        self._graphs: dict[object, G | None] = {}
        self._met: set[object] = set()

    def __len__(self) -> int:
        return sum(graph is not None for graph in self._graphs.values())

    def get(self, key: object) -> G | None:
        """The graph of that key, if there is one."""
        return self._graphs.get(key)

    def worth_recording(self, key: object) -> bool:
        """Whether a graph should be made now: for a key met before and never tried, or in place of a graph that no
        longer fits."""
        if key in self._graphs:
            return self._graphs[key] is not None
        if key in self._met:
            return True
        self._met = self._met if len(self._met) < MOST else set()
        self._met.add(key)
        return False

    def try_for(self, key: object) -> None:
        """Make room for a graph of that key; there is none until `keep`."""
        self._wait()
        if len(self._graphs) >= MOST:
            del self._graphs[next(iter(self._graphs))]
        self._graphs[key] = None

    def keep(self, key: object, graph: G) -> None:
        """This graph was made and found right."""
        self._graphs[key] = graph

    def forget(self) -> None:
        """Let all go: what they recorded is done no more, or their memory is needed."""
        self._wait()
        self._graphs.clear()
        self._met.clear()

    def _wait(self) -> None:
        if self._recorder is not None:
            self._recorder.wait()


class CaptureRefused(Exception):
    """Why something cannot be had by a graph."""


def same_to_the_bit(ones: list[Tensor], others: list[Tensor]) -> bool:
    """Whether all are equal, but for what a NaN consists of."""
    return all(
        torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
        for one, other in zip(ones, others, strict=True)
    )


def first_line(error: BaseException) -> str:
    """What an error says, without the story that torch adds."""
    return (str(error).splitlines() or [type(error).__name__])[0]
