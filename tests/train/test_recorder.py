"""A capture that fails, with CUDA replaced: its cause is reported, and torch is left on the stream it was on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from bncore.recorder import CudaRecorder


class Cuda:
    """As much of ``torch.cuda`` as a recorder calls: ending a failed capture raises, and leaves its stream."""

    def __init__(self) -> None:
        self.stream: object = "present"
        self.modes: list[str] = []

    @contextmanager
    def graph(self, graph: Any, *, pool: Any, stream: Any, capture_error_mode: str) -> Iterator[None]:
        self.modes.append(capture_error_mode)
        before, self.stream = self.stream, stream
        try:
            yield
        except Exception:
            raise RuntimeError(
                "CUDA error: operation failed due to a previous error during capture"
            ) from None
        self.stream = before

    def set_stream(self, stream: object) -> None:
        self.stream = stream


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    fake = Cuda()
    for name, stand_in in {
        "Stream": lambda device: SimpleNamespace(device=device),
        "graph_pool_handle": lambda: (0, 1),
        "CUDAGraph": lambda: SimpleNamespace(replay=lambda: None),
        "current_stream": lambda device: fake.stream,
        "set_stream": fake.set_stream,
        "graph": fake.graph,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return fake


def test_what_was_recorded_is_given_back(cuda: Cuda) -> None:
    replay, result = CudaRecorder(torch.device("cuda")).record(lambda: torch.ones(1))
    replay()
    assert result.item() == 1
    assert (cuda.stream, cuda.modes) == ("present", ["thread_local"])


@pytest.mark.parametrize(
    "cause", [RuntimeError("operation not permitted"), torch.OutOfMemoryError("CUDA out of memory")]
)
def test_a_failed_capture_tells_its_cause_and_leaves_its_stream(cuda: Cuda, cause: RuntimeError) -> None:
    def work() -> Tensor:
        raise cause

    with pytest.raises(type(cause)) as raised:
        CudaRecorder(torch.device("cuda")).record(work)
    assert raised.value is cause
    assert cuda.stream == "present"
