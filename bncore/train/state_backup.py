"""Back to an earlier state of a session, at the price of a few launches: in memory that is used time and again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bncore.train.state import TrainState


class StateBackup:
    """The state of one session at a moment, and the way back to it.

    It covers what a step changes: parameters, statistics and how they are averaged, and the optimizer's state,
    which a step may also begin. Settings are none of it.
    """

    def __init__(self, session: TrainState) -> None:
        self._session = session
        self._copies: list[Tensor] = []
        self._begun: dict[Any, dict[str, Any]] = {}
        self._averaged: list[int] = []

    @torch.no_grad()
    def save(self) -> None:
        """Go back to this moment from now on.

        Raises:
            torch.OutOfMemoryError: there is no room for the copies.
        """
        live = self._session.tensors()
        if not _alike(self._copies, live):
            self._copies = []  # gives room first
            self._copies = [torch.empty_like(tensor) for tensor in live]
        torch._foreach_copy_(self._copies, live)
        self._begun = {parameter: dict(state) for parameter, state in self._session.optimizer.state.items()}
        self._averaged = [norm.averaged for norm in self._session.net.norms]

    @torch.no_grad()
    def restore(self) -> None:
        """Be as at the last `save`."""
        state = self._session.optimizer.state
        state.clear()
        state.update({parameter: dict(begun) for parameter, begun in self._begun.items()})
        for norm, averaged in zip(self._session.net.norms, self._averaged, strict=True):
            norm.averaged = averaged
        torch._foreach_copy_(self._session.tensors(), self._copies)
        self._session.generation += 1  # what a step had begun is forgotten, its memory too


def _alike(ones: list[Tensor], others: list[Tensor]) -> bool:
    return len(ones) == len(others) and all(
        one.shape == other.shape and one.dtype == other.dtype for one, other in zip(ones, others, strict=True)
    )
