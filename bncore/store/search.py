"""Whether a journal speaks of something, without its events being read."""

from __future__ import annotations

import os
from pathlib import Path

from bncore.plain_files import open_plain

HEAD = 256
"""Bytes at its beginning by which a journal is known again: they tell when the run began."""
_SEARCHED: dict[tuple[Path, bytes], tuple[bytes, int | None]] = {}
"""For journal and text, that beginning, and up to where the text does not stand; None: it does."""


def speaks_of(journal: Path, text: bytes) -> bool:
    """Whether a text stands in a journal; False where that cannot be read. Of one that grows only
    what is new is looked through."""
    try:
        with open_plain(journal) as file:
            size, head = os.fstat(file.fileno()).st_size, os.pread(file.fileno(), HEAD, 0)
            known, place = _SEARCHED.get((journal, text), (b"", 0))
            if not known or not head.startswith(known) or (place or 0) > size:
                place = 0
            if place is None:
                return True
            content = os.pread(file.fileno(), size - place, place)
    except OSError:
        return False
    found = text in content
    _SEARCHED[journal, text] = head, None if found else max(0, place + len(content) - len(text) + 1)
    return found
