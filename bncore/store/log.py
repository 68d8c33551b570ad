"""What a process wrote to its standard output and error."""

from __future__ import annotations

from bncore.store.paths import Held


def last_line(held: Held) -> str:
    """The last line of its log; empty where there is none."""
    try:
        text = held.log_file.read_text(errors="replace").strip()
    except OSError:
        return ""
    return text.splitlines()[-1] if text else ""
