"""Noise injection (Algorithm 1 of Santurkar et al., 2018), with keyed draws into reused memory."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from bncore.config.model import Noise
from bncore.nets.forward_mode import ForwardMode
from bncore.random import generator

SECOND_THREAD = ThreadPoolExecutor(1, thread_name_prefix="noise")
WORTH_A_THREAD = 1 << 16
"""Elements from which half of the draws (2.4 ns per element) cost more than using a thread (some 30 us)."""


class NoiseSource:
    """The noise of one layer: a <- s * a + m, with new m and s at each step.

    The draws depend only on (seed, "noise", step, layer), the shape and the layout. They stay in two buffers
    until another step or shape is requested, so that a probe of the same step does not draw again. The
    buffers are not part of the network's state. Drawing a new step while the autograd graph of an old one awaits
    its backward makes that backward raise torch's "modified by an inplace operation": it is never silently
    wrong.
    """

    def __init__(self, setting: Noise, *, seed: int, layer: int) -> None:
        self.setting = setting
        self.seed = seed
        self.layer = layer
        self._key: object = None
        self._shift = self._scale = torch.empty(0)
        self.drawn = self._shift
        """The latest shift, in the shape and layout of the tensor it was drawn for."""

    def apply(self, a: Tensor, p: ForwardMode) -> Tensor:
        """s * a + m, or `a` itself if this pass has no noise.

        Arguments:
            a: [samples * chains, units] or [samples * chains, units, height, width].
            p: mode of the pass; its `noise_step` is the key, and each of its chains gets the same noise.
        """
        if p.noise_step is None or not (p.training or self.setting.in_eval):
            return a
        if a.dtype == torch.bfloat16:
            a = a.float()  # draw in float32, so that a probe gets the same noise
        samples = len(a) // p.chains
        shift, scale = self.draws(a[:samples], p.noise_step)  # in the shape and layout of one chain
        if p.chains == 1:
            if self.setting.amplitude == "relative":
                shift = shift * _deviation(a.detach())
            return torch.addcmul(shift, a, scale)
        chained = a.view(samples, p.chains, *a.shape[1:])
        shift, scale = shift.unsqueeze(1), scale.unsqueeze(1)
        if self.setting.amplitude == "relative":
            shift = shift * _deviation(chained.detach())
        return torch.addcmul(shift, chained, scale).flatten(0, 1)

    def draws(self, a: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """m and s of Algorithm 1 for a step, each in the memory layout of `a`.

        mu_j ~ U(-n_mu, n_mu) and sigma_j ~ U(1, n_sigma) for each unit j (dimension 1); then, for each sample
        and position i, m_ij ~ U(mu_j - r_mu, mu_j + r_mu) and s_ij ~ N(sigma_j, r_sigma).
        """
        key = (step, a.shape, is_channels_last(a), a.dtype, a.device)
        if key != self._key:
            self._key = None
            self._reserve(a)
            self._draw(a, step)
            self.drawn = self._view(self._shift, a)
            self._key = key
        return self._view(self._shift, a), self._view(self._scale, a)

    def _draw(self, a: Tensor, step: int) -> None:
        if a.device.type == "cpu" and torch.get_num_threads() > 1 and a.numel() >= WORTH_A_THREAD:
            # Torch draws on one thread. m and s have separate generators, so m can be drawn on another thread.
            shift = SECOND_THREAD.submit(self._draw_shift, a, step)
            self._draw_scale(a, step)
            shift.result()
        else:
            self._draw_shift(a, step)
            self._draw_scale(a, step)

    def _draw_shift(self, a: Tensor, step: int) -> None:
        s, source = self.setting, self._source(a, step, part=0)
        mu = _per_unit(a).uniform_(-s.n_mu, s.n_mu, generator=source)
        # Drawn into flat memory whatever the layout of `a`: torch is about twice as fast there.
        self._shift[: a.numel()].uniform_(-s.r_mu, s.r_mu, generator=source)
        self._view(self._shift, a).add_(mu)

    def _draw_scale(self, a: Tensor, step: int) -> None:
        s, source = self.setting, self._source(a, step, part=1)
        sigma = _per_unit(a).uniform_(1.0, s.n_sigma, generator=source)
        self._scale[: a.numel()].normal_(0.0, s.r_sigma, generator=source)
        self._view(self._scale, a).add_(sigma)

    def _source(self, a: Tensor, step: int, *, part: int) -> torch.Generator:
        return generator(self.seed, "noise", step=step, layer=self.layer, part=part, device=a.device)

    def _reserve(self, a: Tensor) -> None:
        fits = self._shift.dtype == a.dtype and self._shift.device == a.device
        if fits and self._shift.numel() >= a.numel():
            return
        with torch.inference_mode(False):  # so that a later training step can save them for its backward
            self._shift = torch.empty(a.numel(), dtype=a.dtype, device=a.device)
            self._scale = torch.empty_like(self._shift)

    @staticmethod
    def _view(flat: Tensor, a: Tensor) -> Tensor:
        if is_channels_last(a):
            samples, units, height, width = a.shape
            return flat[: a.numel()].view(samples, height, width, units).permute(0, 3, 1, 2)
        return flat[: a.numel()].view(a.shape)


class NoiseInPlace:
    """The noise memory that captured graphs read: the buffers of the sources' latest draws."""

    def __init__(self, sources: Iterable[NoiseSource]) -> None:
        self._held = [(source, source.drawn) for source in sources]

    def draw(self, step: int) -> bool:
        """Draw the noise of `step` into that memory; False if a source has since changed buffers."""
        return all(
            source.draws(shift, step)[0].data_ptr() == shift.data_ptr() for source, shift in self._held
        )


def is_channels_last(a: Tensor) -> bool:
    """Whether `a`, [N, C, height, width], has its channels innermost in memory."""
    return a.ndim == 4 and not a.is_contiguous() and a.is_contiguous(memory_format=torch.channels_last)


def _per_unit(a: Tensor) -> Tensor:
    """Uninitialized memory for one number per unit, which broadcasts against one sample of `a`."""
    return torch.empty((a.shape[1], *(1,) * (a.ndim - 2)), dtype=a.dtype, device=a.device)


def _deviation(a: Tensor) -> Tensor:
    """Standard deviation of each unit over samples and positions, per chain: [1, (chains,) units, ...]."""
    positions = (-2, -1) if a.ndim > 3 else ()
    return a.var((0, *positions), correction=0, keepdim=True).sqrt()
