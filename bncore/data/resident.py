"""From a resolved spec to data on a device."""

from __future__ import annotations

import hashlib

import torch

from bncore.config.model import GaussianData, ImageData, Spec
from bncore.data.dataset import Dataset
from bncore.data.errors import DataError
from bncore.data.gaussian import gaussian_regression
from bncore.data.resolve import read_images, title_of


def load(spec: Spec, device: torch.device | str = "cpu") -> Dataset:
    """The data of a resolved spec, resident on `device`.

    Raises:
        DataError: they cannot be read, are not those resolved to, or are fewer than a batch.
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
    """The type of inputs, and of regression targets: that of the parameters."""
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
    found = digest.hexdigest()
    if data.fingerprint not in (None, found):
        raise DataError(f"data.fingerprint: the data drawn are {found}; expected {data.fingerprint}")
    dtype = dtype_of(spec)
    return Dataset(
        train_inputs=train[0].to(device, dtype),
        train_targets=train[1].to(device, dtype),
        test_inputs=test[0].to(device, dtype),
        test_targets=test[1].to(device, dtype),
        outputs=data.features,
        source="gaussian",
        title=title_of("gaussian", None),
        fingerprint=found,
        dtype=dtype,
        seed=spec.seed,
        batch_size=spec.batch_size,
    )
