"""The same batch in another order: what changes is rounding, which is the noise floor of every difference."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bncore.nets import ForwardMode, LayeredNet
from bncore.nets.noise import NoiseSource
from bncore.random import ProbeDraws, generator

_QUIET = ForwardMode()


def another_order(samples: int, *, seed: int, step: int, device: torch.device) -> Tensor:
    """A permutation of the samples, (samples,) int64."""
    source = generator(seed, "probe", step=step, part=ProbeDraws.ORDER)
    return torch.randperm(samples, generator=source).to(device)


class Reordered(nn.Module):
    """A network that takes its batch in another order, each sample keeping its own noise.

    Arguments:
        net: the network; its parameters are this module's, under the prefix ``net.``.
        order: (samples,), where each sample of the new order stood.
    """

    def __init__(self, net: LayeredNet, order: Tensor) -> None:
        super().__init__()
        self.net = net
        self.order = order
        self.back = order.argsort()

    def forward(self, x: Tensor, p: ForwardMode) -> Tensor:
        """Outputs in the new order, [samples, outputs], of `x` in the old one."""
        x = x[self.order]
        for layer in self.net.layers:
            x = self._noisy(layer.noise_input, x, p)
            y = layer.map(x, layer.weight, _QUIET)
            y = self._noisy(layer.noise_before_norm, y, p)
            gamma, beta = layer.affine
            if layer.norm is not None:
                y = layer.norm.normalize(y, gamma, beta, _QUIET)
            elif beta is not None:
                y = y + beta
            x = layer.activate(self._noisy(layer.noise_after_norm, y, p))
        return x

    def _noisy(self, source: NoiseSource | None, a: Tensor, p: ForwardMode) -> Tensor:
        return a if source is None else source.apply(a[self.back], p)[self.order]
