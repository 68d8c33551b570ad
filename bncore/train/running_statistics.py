"""The running statistics as they were before a step, for the step that is refused: its forward pass has moved them
before anybody knows its loss."""

from __future__ import annotations

import torch
from torch import Tensor

from bncore.nets import LayeredNet
from bncore.nets.normalize import WITHOUT_STATISTICS


class StatisticsBackup:
    """A copy of a network's running statistics and of how they are averaged, in memory that is used again.

    Saving is one launch on a GPU; on a CPU it takes 16 us for 24 norms, half a percent of a deep linear network's
    step. Norms without statistics cost nothing.

    Arguments:
        net: where it lives for good: its buffers are written in place from now on.
    """

    def __init__(self, net: LayeredNet) -> None:
        self._norms = net.norms
        self._live: list[Tensor] = [t for norm in self._norms for t in (norm.running_mean, norm.running_var)]
        self._copies: list[Tensor] = []
        self._averaged: list[int] = []

    @torch.no_grad()
    def save(self) -> None:
        """Go back to this moment from now on."""
        self._averaged = []
        if all(norm.kind in WITHOUT_STATISTICS for norm in self._norms):
            return
        self._averaged = [norm.averaged for norm in self._norms]
        self._copies = self._copies or [torch.empty_like(tensor) for tensor in self._live]
        torch._foreach_copy_(self._copies, self._live)

    @torch.no_grad()
    def restore(self) -> None:
        """Be as at the last `save`."""
        if not self._averaged:
            return
        for norm, averaged in zip(self._norms, self._averaged, strict=True):
            norm.averaged = averaged
        torch._foreach_copy_(self._live, self._copies)


def overflowed(net: LayeredNet) -> list[int]:
    """Numbers of the layers whose running statistics are not finite, where the norm of the moment reads them."""
    norms = [
        (number, layer.norm)
        for number, layer in enumerate(net.layers, start=1)
        if layer.norm is not None and layer.norm.kind not in WITHOUT_STATISTICS
    ]
    tensors = [tensor for _, norm in norms for tensor in (norm.running_mean, norm.running_var)]
    if not tensors or bool(torch.cat(tensors).isfinite().all()):
        return []
    return [
        number
        for number, norm in norms
        if not bool(torch.cat([norm.running_mean, norm.running_var]).isfinite().all())
    ]
