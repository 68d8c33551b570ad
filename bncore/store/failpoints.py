"""Fault points: places where a test can have the process killed, exactly.

``BNRUN_FAULT=journal.half:17`` sends SIGKILL to the process when it passes the point `journal.half` for the
17th time. Unset, a fault point costs one comparison.
"""

from __future__ import annotations

import os
import signal

_armed, _, _count = os.environ.get("BNRUN_FAULT", "").partition(":")
_left = int(_count or 1)


def armed(point: str) -> bool:
    """Whether a kill at `point` is requested."""
    return point == _armed


def failpoint(point: str) -> None:
    """Die here by SIGKILL, if this is the passage that `BNRUN_FAULT` names."""
    global _left  # noqa: PLW0603 - one counter a process is what the variable means
    if point == _armed:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
