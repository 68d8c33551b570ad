"""Autocast around a loop: the current state, the regions that a loss opens, and passes without autocast."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Autocast:
    """The autocast state at some point of a program."""

    device_type: str
    dtype: torch.dtype | None
    """The dtype it casts to; None: autocast is off."""

    @staticmethod
    def now(device_type: str) -> Autocast:
        """The current autocast state."""
        on = torch.is_autocast_enabled(device_type)
        return Autocast(device_type, torch.get_autocast_dtype(device_type) if on else None)

    def region(self) -> torch.autocast:
        """A context that restores this state."""
        return torch.autocast(self.device_type, dtype=self.dtype, enabled=self.dtype is not None)


NO_AUTOCAST = Autocast("cpu", None)


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
