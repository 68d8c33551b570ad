"""Memory that is needed no longer, given back to the system."""

from __future__ import annotations

import ctypes
from functools import cache


def release_memory() -> None:
    """Give back what was freed, where the C library is glibc: it keeps what lies between blocks in use, a third
    of all after a long history was read. Elsewhere this does nothing."""
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> ctypes._NamedFuncPointer | None:
    try:
        found: ctypes._NamedFuncPointer | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    except (OSError, TypeError):  # no C library of this kind
        return None
    return found
