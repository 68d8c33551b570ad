"""What a person or the system requests of a run between two steps: stop, pause, step, checkpoint, signals."""

from __future__ import annotations

import ctypes
import os
import signal
from dataclasses import dataclass
from types import FrameType

_PR_SET_PDEATHSIG = 1


@dataclass
class RunControl:
    """Whether the run may go on; changed by requests at step boundaries only."""

    paused: bool = False
    single_steps: int = 0
    """Updates still to be made although paused."""
    stopping: bool = False

    def may_step(self) -> bool:
        """Whether the next update may be made; a requested single step is used up by the call."""
        if not self.paused:
            return True
        if self.single_steps:
            self.single_steps -= 1
            return True
        return False


def end_with_parent(parent: int) -> bool:
    """Be sent SIGTERM when the parent process dies, however it dies, so that no worker is orphaned; False where it
    has died already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    return os.getppid() == parent


class Signals:
    """The first SIGINT or SIGTERM requests a checkpoint at the step boundary; a second SIGINT stops at once.

    SIGHUP is ignored: a run outlives the terminal it was started from. SIGUSR2, where it is heard, is the notice
    that this process will have to end, to be started again; a SIGTERM after it wins: what is cancelled stays so.
    """

    def __init__(self) -> None:
        self.received: int | None = None

    def install(self, *, notice: bool = False) -> None:
        """Take over SIGINT, SIGTERM and SIGHUP of this process, and SIGUSR2 as a notice if requested; in its main
        thread only."""
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
