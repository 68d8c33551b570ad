"""What can be wrong with data."""

from __future__ import annotations


class DataError(ValueError):
    """Data that cannot be used; the message names the path, the problem and what is accepted."""


class DownloadError(DataError):
    """Data that could not be fetched: nothing is wrong with what was requested."""
