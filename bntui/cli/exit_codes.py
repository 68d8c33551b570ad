"""Exit codes, and which error means which."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a finished command tells the shell."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NO_RUN = 3
    SOME_FAILED = 4
    INTERRUPTED = 130


def exit_code_of(error: Exception) -> ExitCode | None:
    """The exit code for an error that a person can act upon; None for a defect, which deserves its traceback."""
    # Imported when something has gone wrong, so that `bnrun --help` stays fast.
    from bncore.config.errors import SpecError
    from bncore.data import DataError
    from bncore.store.errors import NoSuchRun, StoreError

    if isinstance(error, NoSuchRun):
        return ExitCode.NO_RUN
    if isinstance(error, SpecError | StoreError):
        return ExitCode.USAGE
    return ExitCode.USAGE if isinstance(error, DataError) else None
