"""What a process wrote to its standard output and error."""

from __future__ import annotations

from bncore.plain import read_plain
from bncore.store.paths import Held


def last_line(held: Held) -> str:
    """The last line of its log; empty where there is none."""
    try:
        text = read_plain(held.log_file).decode(errors="replace").strip()
    except OSError:
        return ""
    return text.splitlines()[-1] if text else ""
