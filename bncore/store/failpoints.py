"""Failpoints: exact places at which a test can have the process killed.

``BNRUN_FAULT=journal.half:17`` sends SIGKILL to the process when it passes the failpoint `journal.half` for the
17th time. If the variable is unset, a failpoint costs one comparison.
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
    """Send SIGKILL to this process if this is the passage that `BNRUN_FAULT` names."""
    global _left  # noqa: PLW0603 - the variable's count is per process
    if point == _armed:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
