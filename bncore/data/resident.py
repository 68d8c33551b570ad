"""The data of a resolved spec on a device: images, or Gaussian regression x -> A x (Santurkar et al., 2018,
section 2.2)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor

from bncore.config.model import GaussianData, ImageData, Spec
from bncore.data.arrays import DataError
from bncore.data.dataset import Dataset
from bncore.data.resolve import read_images, title_of
from bncore.random import generator

TEACHERS: dict[str, Callable[..., Tensor]] = {"gaussian": torch.randn, "uniform": torch.rand}
"""Distributions of the entries of A by name: N(0, 1) or U(0, 1)."""


def gaussian_regression(
    seed: int, samples: int, features: int, teacher: str = "gaussian"
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Training and test pairs (x, A x) in float64, each (samples, features).

    x is i.i.d. N(0, 1); the entries of A are drawn as `teacher`, one of `TEACHERS`, says. A, the training x and
    the test x have separate keys, so that `samples` does not change A and `teacher` does not change x.
    """
    of_matrix, *of_inputs = (generator(seed, "data", layer=part) for part in range(3))
    matrix = TEACHERS[teacher](features, features, dtype=torch.float64, generator=of_matrix)
    train, test = (
        torch.randn(samples, features, dtype=torch.float64, generator=source) for source in of_inputs
    )
    return (train, train @ matrix.T), (test, test @ matrix.T)


def load(spec: Spec, device: torch.device | str = "cpu") -> Dataset:
    """The data of a resolved spec, resident on `device`.

    Raises:
        DataError: the data cannot be read, differ from the resolved ones, or are fewer than a batch.
    """
    data = (
        _images(spec, spec.data, device)
        if isinstance(spec.data, ImageData)
        else _gaussian(spec, spec.data, device)
    )
    if data.steps_per_epoch == 0:
        raise DataError(
            f"batch_size: {spec.batch_size}; expected at most {len(data.train_inputs)}, the training set"
        )
    return data


def dtype_of(spec: Spec) -> torch.dtype:
    """The data type of inputs and regression targets, equal to that of the parameters."""
    return torch.float64 if spec.precision == "float64" else torch.float32


def _images(spec: Spec, images: ImageData, device: torch.device | str) -> Dataset:
    arrays = read_images(images)
    return Dataset(
        train_inputs=torch.from_numpy(arrays.train_images).to(device),
        train_targets=torch.from_numpy(arrays.train_labels).to(device),
        test_inputs=torch.from_numpy(arrays.test_images).to(device),
        test_targets=torch.from_numpy(arrays.test_labels).to(device),
        outputs=len(arrays.classes),
        source=images.source,
        title=title_of(images.source, images.path),
        fingerprint=images.fingerprint or arrays.fingerprint(),
        dtype=dtype_of(spec),
        seed=spec.seed,
        batch_size=spec.batch_size,
        classes=arrays.classes,
        augment=images.augment,
        standardize=images.standardize,
        notices=arrays.notices,
    )


def _gaussian(spec: Spec, data: GaussianData, device: torch.device | str) -> Dataset:
    train, test = gaussian_regression(spec.seed, data.samples, data.features, data.teacher)
    digest = hashlib.sha256()
    for tensor in (*train, *test):
        digest.update(tensor.numpy().tobytes())
    fingerprint = digest.hexdigest()
    if data.fingerprint not in (None, fingerprint):
        raise DataError(f"data.fingerprint: the data drawn are {fingerprint}; expected {data.fingerprint}")
    dtype = dtype_of(spec)
    return Dataset(
        train_inputs=train[0].to(device, dtype),
        train_targets=train[1].to(device, dtype),
        test_inputs=test[0].to(device, dtype),
        test_targets=test[1].to(device, dtype),
        outputs=data.features,
        source="gaussian",
        title=title_of("gaussian", None),
        fingerprint=fingerprint,
        dtype=dtype,
        seed=spec.seed,
        batch_size=spec.batch_size,
    )
