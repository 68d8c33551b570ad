"""Saying of a run that nobody runs what is to become of it."""

from __future__ import annotations

from typing import Literal

from bncore.store.errors import AlreadyOwnedError
from bncore.store.owner import acquire
from bncore.store.paths import RunDir
from bncore.store.status import Status, read_status, write_status


def mark(run: RunDir, state: Literal["queued", "stopped"], message: str = "") -> bool:
    """Say of a run that nobody runs that it is queued or stopped; False where somebody holds it.

    Raises:
        StoreError: the file system refuses.
    """
    try:
        ownership = acquire(run)
    except AlreadyOwnedError:
        return False
    try:
        status = read_status(run) or Status("queued")
        write_status(run, Status(state, status.step, status.steps, message=message))
    finally:
        ownership.release()
    return True
