"""Errors of run directories."""

from __future__ import annotations

from bncore.config.errors import escape_control


class StoreError(RuntimeError):
    """A run directory cannot be read or written; the message names the path and the reason.

    Paths and names are untrusted: control characters in them are shown escaped, so that none reaches the terminal.
    """

    def __init__(self, message: str) -> None:
        super().__init__(escape_control(message))


class NoSuchRun(StoreError):
    """No run or sweep has that name, or several have."""


class AlreadyOwnedError(StoreError):
    """Another process owns this run; the message says which."""


class Divergence(StoreError):
    """A resumed run produced an event that differs from the one already journaled."""
