"""Leaving on a signal in the same way as with `q`, so that the terminal is restored."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from bntui.terminal import reset_terminal

GRACE_S = 5.0
"""Seconds that leaving may take after a signal."""
SIGNALS = (
    signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGABRT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU,
)  # fmt: skip
"""Signals that would otherwise end the process without restoring the terminal."""


def leave_on_signals(leave: Callable[[int], object]) -> None:
    """Call `leave` with the exit code in the running event loop when one of `SIGNALS` arrives. End the process in
    any case: if the terminal is gone, Textual may wait forever for a thread that can no longer write to it."""
    loop = asyncio.get_running_loop()

    def handle(number: int, _frame: FrameType | None) -> None:  # also called while the loop is blocked
        _later(_give_up, 128 + number)
        with suppress(RuntimeError):  # the loop has already ended
            loop.call_soon_threadsafe(leave, 128 + number)

    for one in SIGNALS:
        try:
            signal.signal(one, handle)
        except ValueError:  # not in the main thread, as in tests
            return


def _give_up(code: int) -> None:
    _later(os._exit, code)  # in case the terminal accepts no more output and blocks
    reset_terminal(sys.__stderr__.fileno() if sys.__stderr__ else 2)
    os._exit(code)


def _later(act: Callable[[int], object], code: int) -> None:
    timer = threading.Timer(GRACE_S, act, (code,))
    timer.daemon = True
    timer.start()
