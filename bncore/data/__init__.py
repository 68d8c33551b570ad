"""CIFAR-10, image trees, synthetic images and Gaussian regression, resident on the device.

Resolving the source of the images does not import torch; `bncore.data.resident`, which loads them, does.
"""

from bncore.data.arrays import DataError, DownloadError
from bncore.data.cifar import fetch
from bncore.data.resolve import describe_source, resolve_source

__all__ = ["DataError", "DownloadError", "describe_source", "fetch", "resolve_source"]
