"""Autocast in a loop: the regions that a loss opens, and passes without autocast."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch


@contextmanager
def autocast_seen(dtypes: set[torch.dtype]) -> Iterator[None]:
    """Add to `dtypes` those of all autocast regions opened within the context."""

    def enter(region: torch.autocast, enter: Callable[[torch.autocast], object]) -> object:
        entered = enter(region)
        if torch.is_autocast_enabled(region.device):
            dtypes.add(torch.get_autocast_dtype(region.device))
        return entered

    with _entering(enter):
        yield


@contextmanager
def without_autocast(device_type: str) -> Iterator[None]:
    """Turn autocast off within the context, even in autocast regions opened there."""

    def enter(region: torch.autocast, enter: Callable[[torch.autocast], object]) -> object:
        enabled, region._enabled = region._enabled, False
        try:
            return enter(region)
        finally:
            region._enabled = enabled

    with torch.autocast(device_type, enabled=False), _entering(enter):
        yield


@contextmanager
def _entering(
    instead: Callable[[torch.autocast, Callable[[torch.autocast], object]], object],
) -> Iterator[None]:
    """Within the context, enter autocast regions of this thread with `instead`, which also receives the original
    `__enter__`."""
    thread = threading.get_ident()
    ordinary: Callable[[torch.autocast], object] = torch.autocast.__enter__

    def enter(region: torch.autocast) -> object:
        return instead(region, ordinary) if threading.get_ident() == thread else ordinary(region)

    torch.autocast.__enter__ = enter  # type: ignore[method-assign]  # torch has no hook for regions
    try:
        yield
    finally:
        torch.autocast.__enter__ = ordinary  # type: ignore[method-assign]  # as above
