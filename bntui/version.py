"""The version of the program, as shown by `--version` and `bnrun doctor`."""

from __future__ import annotations


def version() -> str:
    """The installed version, or a note if this is a checkout that is not installed."""
    from importlib import metadata  # noqa: PLC0415 - takes a tenth of the time of `bnrun --help`

    try:
        return metadata.version("bnrun")
    except metadata.PackageNotFoundError:
        return "(a checkout, not installed)"
