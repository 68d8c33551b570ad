"""Exit codes."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of commands."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NO_RUN = 3
    SOME_FAILED = 4
    INTERRUPTED = 130
