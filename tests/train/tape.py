"""A stand-in for CUDA graphs on a CPU: a step's operations, repeated blindly in the very same memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bncore.train.state import TrainState

WAITING = {
    "_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2", "lift_fresh",
}  # fmt: skip
"""Operations that wait for a GPU: they bring something from it, or a number of Python's to it."""


class Tape(TorchDispatchMode):
    """Records every operation below autograd, and repeats it: with the same tensors, into the same results. Like a
    graph it knows nothing of Python: a branch or a number that changes later is not seen. Like a capture it
    refuses what waits for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if _waits(func.overloadpacket.__name__, args):
            raise RuntimeError(f"{func}: operation not permitted when stream is capturing")
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, result in self.calls:
            again = func(*args, **kwargs)
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if (
                    isinstance(old, Tensor) and old.data_ptr() != new.data_ptr()
                ):  # neither a view nor in place
                    old.copy_(new)


def _waits(name: str, args: Any) -> bool:
    """Whether a GPU is waited for, if only for the size of the result, as where something is taken by a mask."""
    masks = (leaf for leaf in tree_leaves(args[1:]) if isinstance(leaf, Tensor) and leaf.dtype == torch.bool)
    return name in WAITING or (name == "index" and any(True for _ in masks))


class Taping:
    """A recorder of tapes. As under a capture nothing is executed: what recording changes is taken back."""

    def __init__(self, session: TrainState) -> None:
        self.session = session
        self.recorded = 0

    @contextmanager
    def aside(self) -> Iterator[None]:
        yield

    def wait(self) -> None:
        pass

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        live = self.session.tensors()
        before = [tensor.detach().clone() for tensor in live]
        with Tape() as tape:
            result = work()
        with torch.no_grad():
            for tensor, value in zip(live, before, strict=True):
                tensor.copy_(value)
            result.fill_(float("nan"))
        self.recorded += 1
        return tape.replay, result
