"""Backup of the running statistics before a step, needed when a non-finite step is undone: its forward pass
updates them before its loss is known."""

from __future__ import annotations

import torch
from torch import Tensor

from bncore.nets import LayeredNet
from bncore.nets.normalize import WITHOUT_STATISTICS


class StatisticsBackup:
    """A copy of a network's running statistics and of the counts of their averaging, in memory that is reused.

    Saving takes one kernel launch on a GPU. On a CPU, it takes 16 us for 24 norms, half a percent of a step of a
    deep linear network. Norms without statistics cost nothing.

    Arguments:
        net: the network on its final device: from now on, its buffers must only be written in place.
    """

    def __init__(self, net: LayeredNet) -> None:
        self._norms = net.norms
        self._live: list[Tensor] = [t for norm in self._norms for t in (norm.running_mean, norm.running_var)]
        self._copies: list[Tensor] = []
        self._averaged: list[int] = []

    @torch.no_grad()
    def save(self) -> None:
        """Save the present statistics, to which `restore` returns."""
        self._averaged = []
        if all(norm.kind in WITHOUT_STATISTICS for norm in self._norms):
            return
        self._averaged = [norm.averaged for norm in self._norms]
        self._copies = self._copies or [torch.empty_like(tensor) for tensor in self._live]
        torch._foreach_copy_(self._copies, self._live)

    @torch.no_grad()
    def restore(self) -> None:
        """Return to the statistics of the last `save`."""
        if not self._averaged:
            return
        for norm, averaged in zip(self._norms, self._averaged, strict=True):
            norm.averaged = averaged
        torch._foreach_copy_(self._live, self._copies)


def overflowed(net: LayeredNet) -> list[int]:
    """Numbers of the layers whose running statistics are not finite, if their present norm uses them."""
    statistics = {
        number: torch.cat([layer.norm.running_mean, layer.norm.running_var])
        for number, layer in enumerate(net.layers, start=1)
        if layer.norm is not None and layer.norm.kind not in WITHOUT_STATISTICS
    }
    if not statistics or bool(torch.cat(list(statistics.values())).isfinite().all()):
        return []
    return [number for number, tensor in statistics.items() if not bool(tensor.isfinite().all())]
