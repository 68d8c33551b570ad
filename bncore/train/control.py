"""Control of a run between steps: stop, pause, single steps, and signals."""

from __future__ import annotations

import ctypes
import os
import signal
from dataclasses import dataclass
from types import FrameType

_PR_SET_PDEATHSIG = 1


@dataclass
class RunControl:
    """Whether the run may continue; changed only by requests at step boundaries."""

    paused: bool = False
    single_steps: int = 0
    """Number of updates still to be made while paused."""
    stopping: bool = False

    def may_step(self) -> bool:
        """Whether the next update may be made; while paused, each True uses up one requested single step."""
        if not self.paused:
            return True
        if self.single_steps:
            self.single_steps -= 1
            return True
        return False


def end_with_parent(parent: int) -> bool:
    """Have the kernel send SIGTERM to this process when its parent dies for any reason, so that no worker is
    orphaned; False if the parent has already died."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    return os.getppid() == parent


class Signals:
    """Signal handlers: the first SIGINT or SIGTERM requests a checkpoint at the next step boundary; a later SIGINT
    kills the process at once.

    SIGHUP is ignored, so that a run outlives the terminal it was started from. SIGUSR2, if enabled, announces that
    this process must end soon and will be requeued. A SIGTERM after it takes precedence, so that a cancelled run
    is not requeued.
    """

    def __init__(self) -> None:
        self.received: int | None = None

    def install(self, *, notice: bool = False) -> None:
        """Install the handlers in this process; must be called in its main thread.

        Arguments:
            notice: also handle SIGUSR2.
        """
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        if notice:
            signal.signal(signal.SIGUSR2, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.received == signal.SIGUSR2:
            self.received = number
        if self.received is not None and number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)
        self.received = self.received or number
