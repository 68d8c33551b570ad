"""CIFAR-10, image trees, synthetic images and Gaussian regression, resident on the device.

Resolving the source of the images does not import torch; names that need it are imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bncore.data.arrays import DataError, DownloadError
from bncore.data.cifar import fetch
from bncore.data.resolve import ResolvedSource, describe_source, resolve_source, title_of

if TYPE_CHECKING:
    from bncore.data.dataset import Dataset, Split
    from bncore.data.resident import load

__all__ = [
    "DataError", "Dataset", "DownloadError", "ResolvedSource", "Split", "describe_source", "fetch", "load",
    "resolve_source", "title_of",
]  # fmt: skip

_NEED_TORCH = {
    "Dataset": "bncore.data.dataset",
    "Split": "bncore.data.dataset",
    "load": "bncore.data.resident",
}


def __getattr__(name: str) -> Any:
    if name not in _NEED_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_NEED_TORCH[name]), name)
