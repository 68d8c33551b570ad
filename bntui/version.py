"""The version of the program, as `--version` and `bnrun doctor` show it."""

from __future__ import annotations


def version() -> str:
    """The installed version; in a checkout that is not installed, that it is one."""
    from importlib import metadata  # noqa: PLC0415 - it takes a tenth of the time of `bnrun --help`

    try:
        return metadata.version("bnrun")
    except metadata.PackageNotFoundError:
        return "(a checkout, not installed)"
