"""Errors that a person can act upon: their exit codes."""

from __future__ import annotations

from bncore.config.errors import SpecError
from bncore.data import DataError
from bncore.store.errors import NoSuchRun, StoreError
from bntui.cli.exit_codes import ExitCode


def exit_code_of(error: Exception) -> ExitCode | None:
    """The exit code for an error that a person can act upon; None for a defect, which deserves its traceback."""
    if isinstance(error, NoSuchRun):
        return ExitCode.NO_RUN
    return ExitCode.USAGE if isinstance(error, SpecError | StoreError | DataError) else None
