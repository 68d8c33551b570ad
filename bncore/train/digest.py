"""The digest by which two runs are called the same."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping

import torch


def params_sha256(module: torch.nn.Module) -> str:
    """SHA-256 over every parameter and buffer of `module`, in sorted order of their names.

    Each contributes its name, dtype, shape and contiguous little-endian bytes (architecture.md, "Digest and
    journal").
    """
    return tensors_sha256({**dict(module.named_parameters()), **dict(module.named_buffers())})


def tensors_sha256(tensors: Mapping[str, torch.Tensor]) -> str:
    """The same of tensors by name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        update(digest, name, tensors[name])
    return digest.hexdigest()


def update(digest: hashlib._Hash, name: str, tensor: torch.Tensor) -> None:
    """Feed one named tensor into `digest`."""
    array = tensor.detach().cpu().contiguous().numpy()
    if sys.byteorder == "big":
        array = array.byteswap()
    dtype = str(tensor.dtype).removeprefix("torch.")
    digest.update(f"{name}\0{dtype}\0{tuple(tensor.shape)}\0".encode())
    digest.update(array.tobytes())
