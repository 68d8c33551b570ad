"""Data resident on a device, with batches as a pure function of the step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from bncore.random import generator

Split = Literal["train", "test"]

PADDING = 4
"""Pixels of zero padding on each side from which augmented training images are cropped."""


@dataclass
class Dataset:
    """A training set and a test set on a device.

    Images are uint8 and standardized batch by batch: (image / 255 - mean) / std, with the training set's moments
    per channel or each image's own (`standardize`). Regression data are already floating point.
    """

    train_inputs: Tensor  # (n, 3, height, width) uint8, or (n, features)
    train_targets: Tensor  # (n,) int64, or (n, outputs)
    test_inputs: Tensor
    test_targets: Tensor
    outputs: int
    source: str
    title: str
    """Name of the data in figures."""
    fingerprint: str
    dtype: torch.dtype
    seed: int
    batch_size: int | Literal["full"]
    classes: tuple[str, ...] | None = None
    """Class names; None for regression."""
    augment: bool = False
    standardize: Literal["dataset", "image"] = "dataset"
    """Moments that standardize an image: those of the training set, or the image's own."""
    notices: tuple[str, ...] = ()
    """Remarks about how the data were read: warnings of the journal."""
    _order: tuple[int, Tensor] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.train_inputs.dtype == torch.uint8:
            self._mean, self._std = _channel_moments(self.train_inputs, self.dtype)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple(self.train_inputs.shape[1:])

    @property
    def steps_per_epoch(self) -> int:
        """Number of full batches in the training set; an epoch drops the remaining samples of its order."""
        n = len(self.train_inputs)
        return 1 if self.batch_size == "full" else n // self.batch_size

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets of a training step, a function of only the seed and `step`."""
        if self.batch_size == "full":
            inputs, targets = self.train_inputs, self.train_targets
        else:
            epoch, position = divmod(step, self.steps_per_epoch)
            start = position * self.batch_size
            chosen = self._epoch_order(epoch)[start : start + self.batch_size]
            # On a CPU, almost three times as fast as train_inputs[chosen].
            inputs, targets = self.train_inputs.index_select(0, chosen), self.train_targets[chosen]
        if self.augment:
            inputs = self._augmented(inputs, step)
        return self._numbers(inputs), targets

    def eval_batches(self, split: Split, samples: int, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of inputs and targets of a split's first `samples` samples (0: all), never augmented."""
        inputs, targets = self.test_inputs, self.test_targets
        if split == "train":
            inputs, targets = self.train_inputs, self.train_targets
        count = min(samples, len(inputs)) or len(inputs)
        for start in range(0, count, batch_size):
            end = min(start + batch_size, count)
            yield self._numbers(inputs[start:end]), targets[start:end]

    def _epoch_order(self, epoch: int) -> Tensor:
        if self._order is None or self._order[0] != epoch:
            source = generator(self.seed, "order", step=epoch)
            drawn = torch.randperm(len(self.train_inputs), generator=source)
            self._order = (epoch, drawn.to(self.train_inputs.device))
        return self._order[1]

    def _numbers(self, inputs: Tensor) -> Tensor:
        if inputs.dtype != torch.uint8:
            return inputs
        if self.standardize == "image":
            return _standardized(inputs, self.dtype)
        return inputs.to(self.dtype).sub_(self._mean).div_(self._std)

    def _augmented(self, images: Tensor, step: int) -> Tensor:
        """Random crops of the padded images, each mirrored with probability 1/2 (He et al., 2016, section 4.2)."""
        n, channels, height, width = images.shape
        source = generator(self.seed, "augment", step=step)
        top, left = torch.randint(0, 2 * PADDING + 1, (2, n, 1), generator=source)
        mirrored = torch.rand((n, 1), generator=source) < 0.5
        columns = torch.arange(width).expand(n, width)
        columns = torch.where(mirrored, width - 1 - columns, columns) + left
        rows = torch.arange(height) + top
        pixels = rows[:, :, None] * (width + 2 * PADDING) + columns[:, None, :]  # of the padded image
        chosen = pixels.view(n, 1, -1).to(images.device).expand(n, channels, -1)
        return F.pad(images, (PADDING,) * 4).flatten(2).gather(2, chosen).view_as(images)


def _standardized(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Images, (n, channels, height, width) uint8, each standardized over all its N values.

    The result is (x - mean) / max(std, 1 / sqrt(N)), as in TensorFlow's per_image_standardization. It is computed
    as (N x - sum) / max(sqrt(N * sum of squares - sum^2), sqrt(N)) from integer sums, which are exact: the result
    is the same on every device and in every batch, and 0 for an image of a single color.
    """
    pixels = images.flatten(1).to(torch.int32)
    count = pixels.shape[1]
    total, squares = pixels.sum(1, keepdim=True), pixels.square().sum(1, keepdim=True)  # int64
    scale = (count * squares - total.square()).clamp_(min=count).double().sqrt()
    return pixels.mul_(count).sub_(total).to(dtype).div_(scale.to(dtype)).view_as(images)


def _channel_moments(images: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (at least 1) of each channel in units of 1/255, both (channels, 1, 1).

    The sums are Python integers, hence exact and the same on every device and with any number of threads.
    """
    means, stds = [], []
    for channel in images.unbind(1):
        counts = torch.bincount(channel.flatten(), minlength=256).tolist()
        n, total = sum(counts), sum(value * count for value, count in enumerate(counts))
        squares = sum(value * value * count for value, count in enumerate(counts))
        means.append(total / n)
        stds.append(max(1.0, math.sqrt((n * squares - total * total) / n**2)))
    shape = (len(means), 1, 1)
    mean, std = (torch.tensor(m, dtype=dtype, device=images.device).view(shape) for m in (means, stds))
    return mean, std
