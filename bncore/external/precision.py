"""Autocast around a loop: what is on, what a loss opens, and passes without it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

DeviceType = str


@dataclass(frozen=True)
class Autocast:
    """Autocast as it is somewhere in a program."""

    device_type: DeviceType
    dtype: torch.dtype | None
    """What it casts to; None: it is off."""

    @staticmethod
    def now(device_type: DeviceType) -> Autocast:
        """As it is here."""
        on = torch.is_autocast_enabled(device_type)
        return Autocast(device_type, torch.get_autocast_dtype(device_type) if on else None)

    def region(self) -> torch.autocast:
        """A context in which it is so again."""
        return torch.autocast(self.device_type, dtype=self.dtype, enabled=self.dtype is not None)


@contextmanager
def autocast_seen(found: set[torch.dtype]) -> Iterator[None]:
    """Add to `found` what the autocast regions that are opened meanwhile cast to."""

    def enter(region: torch.autocast, enter: Callable[[torch.autocast], object]) -> object:
        entered = enter(region)
        if torch.is_autocast_enabled(region.device):
            found.add(torch.get_autocast_dtype(region.device))
        return entered

    with _entering(enter):
        yield


@contextmanager
def without_autocast(device_type: DeviceType) -> Iterator[None]:
    """Autocast off, even in the regions that are opened meanwhile."""

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
    """Autocast regions are entered otherwise meanwhile, in this thread; `instead` is given the ordinary way."""
    thread = threading.get_ident()
    ordinary: Callable[[torch.autocast], object] = torch.autocast.__enter__

    def enter(region: torch.autocast) -> object:
        return instead(region, ordinary) if threading.get_ident() == thread else ordinary(region)

    torch.autocast.__enter__ = enter  # type: ignore[method-assign]  # torch tells nobody of regions
    try:
        yield
    finally:
        torch.autocast.__enter__ = ordinary  # type: ignore[method-assign]  # as above
