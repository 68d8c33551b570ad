"""Batches of any structure, and states of the generators that a forward pass may draw from.

A batch consists of tensors in tuples, lists and mappings; other objects are left alone. With the generator states,
a forward pass can be repeated with the same draws.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class RngState:
    """State of the process's global generators: torch's on the CPU and every CUDA device, Python's and numpy's.

    Generator objects that belong to a module are not included.
    """

    cpu: Tensor
    cuda: tuple[Tensor, ...]
    python: tuple[Any, ...]
    numpy: dict[str, Any]

    @staticmethod
    def now() -> RngState:
        """The current states."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        numpy = np.random.get_state(legacy=False)
        assert isinstance(numpy, dict)
        return RngState(torch.get_rng_state(), tuple(cuda), random.getstate(), numpy)

    def restore(self) -> None:
        """Make every generator continue from this state."""
        torch.set_rng_state(self.cpu)
        if self.cuda:
            torch.cuda.set_rng_state_all(list(self.cuda))
        random.setstate(self.python)
        np.random.set_state(self.numpy)

    def same_as(self, other: RngState) -> bool:
        """Whether nothing was drawn between the two states."""
        return (
            torch.equal(self.cpu, other.cpu)
            and len(self.cuda) == len(other.cuda)
            and all(torch.equal(a, b) for a, b in zip(self.cuda, other.cuda, strict=True))
            and self.python == other.python
            and _equal(self.numpy, other.numpy)
        )


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    return bool(np.array_equal(one, other))


@dataclass(frozen=True)
class MicroBatch:
    """A batch whose loss is one term of the step's loss."""

    batch: Any
    weight: float = 1.0
    """Factor of its loss."""
    draws: RngState | None = None
    """Generator states at the start of its forward pass, where all passes of a probe start; None: no draws.
    The caller restores the generators afterwards."""


def tensors_of(batch: Any) -> Iterator[Tensor]:
    """The tensors of a batch, in order."""
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, Mapping):
        for part in batch.values():
            yield from tensors_of(part)
    elif isinstance(batch, list | tuple):
        for part in batch:
            yield from tensors_of(part)


def map_tensors(batch: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same structure with changed tensors; objects that are not tensors or containers are kept."""
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, MutableMapping):
        changed = copy.copy(batch)
        for key, part in batch.items():
            changed[key] = map_tensors(part, change)
        return changed
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(map_tensors(part, change) for part in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(map_tensors(part, change) for part in batch)
    return batch


def copied(batch: Any) -> Any:
    """A copy of the batch with its own tensors, so that in-place writes to it affect nothing else."""
    return map_tensors(batch, lambda t: t.detach().clone().requires_grad_(t.requires_grad))


def samples_of(batch: Any) -> int:
    """Number of samples in a batch: the common first dimension of its tensors, or 0 if there is none."""
    sizes = {t.shape[0] if t.ndim else 0 for t in tensors_of(batch)}
    return sizes.pop() if len(sizes) == 1 else 0


def reordered(batch: Any, order: Tensor) -> Any:
    """The batch with its samples in the given order."""
    return map_tensors(batch, lambda t: t.detach()[order].requires_grad_(t.requires_grad))
