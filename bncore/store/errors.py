"""What can be wrong with a run directory."""

from __future__ import annotations


class StoreError(RuntimeError):
    """A run directory cannot be read or written; the message names the path and the reason."""


class NoSuchRun(StoreError):
    """No run or sweep goes by that name."""


class Owned(StoreError):
    """Somebody else writes this run; the message says who."""


class Divergence(StoreError):
    """A resumed run made another event than the one already journaled."""
