"""What can be wrong with a run directory."""

from __future__ import annotations

from bncore.config.errors import escape_control


class StoreError(RuntimeError):
    """A run directory cannot be read or written; the message names the path and the reason.

    Paths and names come from outside: whatever in them could steer a terminal is shown instead.
    """

    def __init__(self, message: str) -> None:
        super().__init__(escape_control(message))


class NoSuchRun(StoreError):
    """No run or sweep goes by that name."""


class AlreadyOwnedError(StoreError):
    """Somebody else writes this run; the message says who."""


class Divergence(StoreError):
    """A resumed run made another event than the one already journaled."""
