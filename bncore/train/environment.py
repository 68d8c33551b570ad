"""Contents of `meta.json`: everything outside the spec on which the digest depends, and where the run was made."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

LIBRARIES = ("bnrun", "torch", "torchvision", "numpy", "pydantic", "orjson")


def environment(device: torch.device) -> dict[str, Any]:
    """Host, device, library versions, code revision and precision flags of this process."""
    cuda = device.type == "cuda"
    return {
        "host": socket.gethostname(),
        "user": os.environ.get("USER", ""),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in LIBRARIES},
        "device": str(device),
        "gpu": torch.cuda.get_device_name(device) if cuda else None,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "precision": {
            "matmul": torch.backends.cuda.matmul.fp32_precision if cuda else "ieee",
            "convolution": torch.backends.cudnn.conv.fp32_precision if cuda else "ieee",  # type: ignore[attr-defined]  # set dynamically by torch
        },
        "deterministic": torch.are_deterministic_algorithms_enabled() if cuda else True,
        "revision": _revision(),
        "command": sys.argv,
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _revision() -> str | None:
    """Commit of the checkout that this code runs from, with "+" if modified; None for an installed package."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        return head + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=5, check=True
    )
    return done.stdout.strip()
