"""Labelled images as plain arrays, before they move to a device; what can be wrong with data."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


class DataError(ValueError):
    """Data that cannot be used; the message names the path, the problem and what is accepted."""


class DownloadError(DataError):
    """Data that could not be fetched: nothing is wrong with what was requested."""


Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, and how many there are."""


@dataclass(frozen=True)
class ImageArrays:
    """A training and a test set of images of one size."""

    train_images: NDArray[np.uint8]  # (n, 3, height, width)
    train_labels: NDArray[np.int64]  # (n,)
    test_images: NDArray[np.uint8]  # (m, 3, height, width)
    test_labels: NDArray[np.int64]  # (m,)
    classes: tuple[str, ...]
    skipped: str = ""
    """Numbers and kinds of the files that lie among the images and are no part of them."""
    notices: tuple[str, ...] = ()
    """What a person should know of how the images were taken: shown on screen, and journaled."""

    def fingerprint(self) -> str:
        """SHA-256 over class names, shapes and bytes of all four arrays, and over what was skipped."""
        found = self._fingerprint_of_arrays()
        return hashlib.sha256(f"{found}\0{self.skipped}".encode()).hexdigest() if self.skipped else found

    def check(self, fingerprint: str | None, message: str) -> str:
        """The fingerprint of these images: `fingerprint`, where that is known.

        One of the arrays alone will do: before skipped files were reported, there was no other.

        Raises:
            DataError: `fingerprint` is that of other images; says `message` before.
        """
        found = self.fingerprint()
        if fingerprint is None or fingerprint == found:
            return found
        if fingerprint == self._fingerprint_of_arrays():
            return fingerprint
        without = f" without {self.skipped}" if self.skipped else ""
        raise DataError(f"{message} {found}{without}; expected {fingerprint}")

    def _fingerprint_of_arrays(self) -> str:
        digest = hashlib.sha256("\0".join(self.classes).encode())
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            little = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
            digest.update(f"{little.shape}".encode())
            digest.update(little.data)
        return digest.hexdigest()


def class_balanced_order(labels: NDArray[np.int64], seed: int = 0) -> NDArray[np.int64]:
    """A fixed shuffled order of samples in which every prefix is as class-balanced as the set allows, (n,)."""
    rng = np.random.Generator(np.random.PCG64(seed))
    rank = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rank[rng.permutation(members)] = np.arange(len(members)) / len(members)
    return np.lexsort((labels, rank))
