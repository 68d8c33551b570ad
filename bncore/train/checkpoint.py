"""Checkpoints: written atomically, read without pickle, and checked by a digest of their content. Also the digest
of parameters and buffers by which runs are compared.

A checkpoint appears under its name (`bncore.store.paths`) only once it is complete: temporary file, fsync, rename,
fsync of the directory.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from bncore.plain_files import open_plain
from bncore.store.errors import StoreError
from bncore.store.failpoints import failpoint
from bncore.store.paths import checkpoint_name, list_checkpoints

VERSION = 1


class CheckpointError(ValueError):
    """The checkpoint cannot be used; the message names the file and the reason."""


DAMAGED = ".damaged"
"""Suffix appended to the name of a checkpoint that was set aside."""


def save(folder: Path, step: int, state: dict[str, Any], *, requested: bool = False) -> Path:
    """Write the state before update `step` into `folder`, atomically; returns the file's path.

    Raises:
        StoreError: the file system refuses (full, read-only); the temporary file is removed, nothing else touched.
    """
    content = {"version": VERSION, "step": step, "state": state}
    content["sha256"] = content_sha256(content)
    final = folder / checkpoint_name(step, "kept" if requested else "")
    temporary = final.with_suffix(f".{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            torch.save(content, file)
            file.flush()
            failpoint("checkpoint.half")
            os.fsync(file.fileno())
        failpoint("checkpoint.rename")
        temporary.replace(final)
        sync_folder(folder)
    except OSError as error:
        raise StoreError(f"{final}: cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):  # already renamed, unless something failed
            temporary.unlink()
    return final


def load(path: Path, device: torch.device | str = "cpu") -> tuple[int, dict[str, Any]]:
    """Read a checkpoint; returns its step and the saved state.

    Raises:
        CheckpointError: the file is not a checkpoint, is damaged, or has another version.
    """
    try:
        with open_plain(path) as file:
            content = torch.load(file, map_location=device, weights_only=True)
    except Exception as error:  # on a damaged file, torch.load may raise almost anything
        why = (isinstance(error, OSError) and error.strerror) or type(error).__name__
        raise CheckpointError(f"{path}: not a readable checkpoint ({why})") from error
    if not isinstance(content, dict) or not {"version", "step", "state", "sha256"} <= content.keys():
        raise CheckpointError(f"{path}: not a checkpoint of this program")
    if content["version"] != VERSION:
        raise CheckpointError(f"{path}: version {content['version']!r}, this program reads {VERSION}")
    if content.pop("sha256") != content_sha256(content):
        raise CheckpointError(f"{path}: damaged (its digest does not match its content)")
    return int(content["step"]), content["state"]


def set_aside(path: Path) -> None:
    """Set an unusable checkpoint aside by renaming it."""
    with suppress(OSError):
        path.replace(path.with_name(path.name + DAMAGED))


def prune(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep` of the prunable checkpoints, and temporary files of dead writers."""
    for checkpoint in [c for c in list_checkpoints(folder) if not c.why][:-keep]:
        checkpoint.path.unlink(missing_ok=True)
    for orphan in folder.glob("step-*.tmp"):
        orphan.unlink(missing_ok=True)


def content_sha256(content: object) -> str:
    """SHA-256 over nested dictionaries, lists, tensors and plain values, in iteration order."""
    digest = hashlib.sha256()
    _feed(digest, "", content)
    return digest.hexdigest()


def _feed(digest: hashlib._Hash, name: str, value: object) -> None:
    if isinstance(value, torch.Tensor):
        update(digest, name, value)
    elif isinstance(value, dict):
        for key, item in value.items():
            _feed(digest, f"{name}/{key}", item)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _feed(digest, f"{name}/{index}", item)
    else:
        digest.update(f"{name}\0{value!r}\0".encode())


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable (fsync)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def params_sha256(module: torch.nn.Module) -> str:
    """SHA-256 over all parameters and buffers of `module`, sorted by name.

    Each contributes its name, dtype, shape and contiguous little-endian bytes (architecture.md, "Digest and
    journal").
    """
    return tensors_sha256({**dict(module.named_parameters()), **dict(module.named_buffers())})


def tensors_sha256(tensors: Mapping[str, torch.Tensor]) -> str:
    """As `params_sha256`, for a mapping of names to tensors."""
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


def step_and_digest(path: Path) -> tuple[int, str]:
    """Step and params_sha256 of a checkpoint.

    Raises:
        CheckpointError: the checkpoint cannot be used; the message names the file.
    """
    step, state = load(path)
    try:
        tensors = {name: t for name, t in state["net"].items() if not name.endswith("_extra_state")}
        return step, tensors_sha256(tensors)
    except (AttributeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: holds no network ({type(error).__name__})") from error


def usable(path: Path) -> bool:
    """Whether a checkpoint can be loaded."""
    try:
        step_and_digest(path)
    except CheckpointError:
        return False
    return True
