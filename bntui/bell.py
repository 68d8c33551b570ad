"""A bell or a desktop notification when a watched run ends."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from bncore.config.errors import escape_control
from bncore.follow.run_view import RunView
from bntui.preferences import Bell

LIVING = frozenset({"running", "paused", "queued"})
"""States of runs that will continue."""
ENDED = frozenset({"finished", "diverged", "failed", "stopped", "dead"})
NAMED = 3
"""Maximum number of runs named in a message."""


class Endings:
    """Reports the end of each run that was seen alive, once."""

    def __init__(self) -> None:
        self._alive: set[Path] = set()

    def of(self, views: Iterable[RunView]) -> list[RunView]:
        """Runs that have ended since the last call."""
        ended = []
        for view in views:
            if view.state in LIVING:
                self._alive.add(view.run.path)
            elif view.state in ENDED and view.run.path in self._alive:
                self._alive.remove(view.run.path)
                ended.append(view)
        return ended


def signal(kind: Bell, ended: list[RunView], environment: Mapping[str, str] = os.environ) -> str:
    """Escape sequence that announces these runs; empty if there is nothing to announce.

    Inside tmux, OSC 9 reaches the terminal if the option ``allow-passthrough`` is on.
    """
    if not ended or kind == "off":
        return ""
    if kind == "bell":
        return "\a"
    names = ", ".join(f"{view.name} {view.state}" for view in ended[:NAMED])
    more = f" and {len(ended) - NAMED} more" if len(ended) > NAMED else ""
    message = f"\x1b]9;bntui: {escape_control(names + more)}\a"
    if environment.get("TMUX"):
        return f"\x1bPtmux;{message.replace(chr(27), chr(27) * 2)}\x1b\\"
    return message
