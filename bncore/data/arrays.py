"""Labeled images as plain arrays, before they move to a device, and the errors of unusable data."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


class DataError(ValueError):
    """Data that cannot be used; the message names the path, the problem and what is accepted."""


class DownloadError(DataError):
    """Data that could not be downloaded, although the request itself is valid."""


Progress = Callable[[str, int, int], None]
"""Called with the name of the task, the number of items done and the total."""


ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
"""The arrays of `ImageArrays`, in order."""


@dataclass(frozen=True)
class ImageArrays:
    """A training set and a test set of images, all of one size."""

    train_images: NDArray[np.uint8]  # (n, 3, height, width)
    train_labels: NDArray[np.int64]  # (n,)
    test_images: NDArray[np.uint8]  # (m, 3, height, width)
    test_labels: NDArray[np.int64]  # (m,)
    classes: tuple[str, ...]
    skipped: str = ""
    """Numbers and kinds of the files that were found among the images but not used."""
    notices: tuple[str, ...] = ()
    """Remarks about how the images were read, shown on screen and journaled."""

    def fingerprint(self) -> str:
        """SHA-256 over the class names, the shapes and bytes of all four arrays, and `skipped`."""
        digest = self._fingerprint_of_arrays()
        return hashlib.sha256(f"{digest}\0{self.skipped}".encode()).hexdigest() if self.skipped else digest

    def check(self, fingerprint: str | None, message: str) -> str:
        """Check these images against `fingerprint`, if given, and return their fingerprint.

        A fingerprint of the arrays alone is accepted too: older versions did not report skipped files.

        Raises:
            DataError: `fingerprint` is that of other images; the error starts with `message`.
        """
        own = self.fingerprint()
        if fingerprint is None or fingerprint == own:
            return own
        if fingerprint == self._fingerprint_of_arrays():
            return fingerprint
        without = f" without {self.skipped}" if self.skipped else ""
        raise DataError(f"{message} {own}{without}; expected {fingerprint}")

    def _fingerprint_of_arrays(self) -> str:
        digest = hashlib.sha256("\0".join(self.classes).encode())
        for array in (getattr(self, name) for name in ARRAYS):
            little = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
            digest.update(f"{little.shape}".encode())
            digest.update(little.data)
        return digest.hexdigest()


def class_balanced_order(labels: NDArray[np.int64], seed: int = 0) -> NDArray[np.int64]:
    """A fixed shuffled order of the samples, (n,), whose every prefix is as class-balanced as the set allows."""
    rng = np.random.Generator(np.random.PCG64(seed))
    rank = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rank[rng.permutation(members)] = np.arange(len(members)) / len(members)
    return np.lexsort((labels, rank))
