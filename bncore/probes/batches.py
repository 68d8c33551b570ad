"""Batches of any structure: tensors in tuples, lists and mappings; other objects are left alone. And states of
the generators that a forward pass may draw from, so that it can be repeated with the same draws."""

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
    """The process's own generators at one moment: torch's on the CPU and on every CUDA device, Python's and
    numpy's. A generator object that a module keeps for itself is not among them."""

    cpu: Tensor
    cuda: tuple[Tensor, ...]
    python: tuple[Any, ...]
    numpy: dict[str, Any]

    @staticmethod
    def now() -> RngState:
        """The states as they are."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        numpy = np.random.get_state(legacy=False)
        assert isinstance(numpy, dict)
        return RngState(torch.get_rng_state(), tuple(cuda), random.getstate(), numpy)

    def restore(self) -> None:
        """Make every generator continue from here."""
        torch.set_rng_state(self.cpu)
        if self.cuda:
            torch.cuda.set_rng_state_all(list(self.cuda))
        random.setstate(self.python)
        np.random.set_state(self.numpy)

    def same_as(self, other: RngState) -> bool:
        """Whether nothing was drawn between the two."""
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
    """A batch, the loss of which is a term of the step's loss."""

    batch: Any
    weight: float = 1.0
    """What its loss is multiplied by."""
    draws: RngState | None = None
    """The generators as its forward pass met them: every pass made for a probe begins there. None: it draws
    nothing. Whoever measures puts the generators back."""


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
    """The same structure with other tensors; what is no tensor, list, tuple or mapping stays the object it is."""
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, MutableMapping):
        made = copy.copy(batch)
        for key, part in batch.items():
            made[key] = map_tensors(part, change)
        return made
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(map_tensors(part, change) for part in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(map_tensors(part, change) for part in batch)
    return batch


def copied(batch: Any) -> Any:
    """The batch with tensors of its own: what is written to it in place is written to nobody else's."""
    return map_tensors(batch, lambda t: t.detach().clone().requires_grad_(t.requires_grad))


def samples_of(batch: Any) -> int:
    """How many samples a batch holds: the common first dimension of its tensors; 0 where there is none."""
    sizes = {t.shape[0] if t.ndim else 0 for t in tensors_of(batch)}
    return sizes.pop() if len(sizes) == 1 else 0


def reordered(batch: Any, order: Tensor) -> Any:
    """The samples of a batch in another order."""
    return map_tensors(batch, lambda t: t.detach()[order].requires_grad_(t.requires_grad))
