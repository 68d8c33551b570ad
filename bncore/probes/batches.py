"""Batches of any structure: tensors in tuples, lists and mappings; other objects are left alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from bncore.probes.rng_state import RngState


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
