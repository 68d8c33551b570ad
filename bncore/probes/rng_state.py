"""States of the generators that a forward pass may draw from, so that it can be repeated with the same draws."""

from __future__ import annotations

import random
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
