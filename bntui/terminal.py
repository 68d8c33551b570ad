"""Giving a terminal back: what the explorer switches on, switched off, for itself or for one that was killed."""

from __future__ import annotations

import os
import termios
from contextlib import suppress

_OFF = (
    "1000",  # mouse buttons
    "1002",  # mouse drags
    "1003",  # mouse moves
    "1006",  # mouse coordinates
    "1015",
    "1016",
    "1004",  # focus
    "2004",  # pasting
    "2048",  # sizes reported in the input
)
RESET = "".join(
    (
        *(f"\x1b[?{mode}l" for mode in _OFF),
        "\x1b[<u",  # the keyboard's protocol
        "\x1b[?1047l",  # the alternate screen; 1049 would move the cursor where there is none to leave
        "\x1b[?7h",  # long lines wrap
        "\x1b[?25h",  # the cursor is seen
    )
)
"""Nothing of it is seen on a terminal where nothing was left on."""
_LOCAL = termios.ECHO | termios.ICANON | termios.IEXTEN | termios.ISIG
_INPUT = termios.ICRNL | termios.IXON


def reset_terminal(descriptor: int) -> None:
    """Switch off whatever an explorer that was killed has left on; a terminal that is gone is left alone.

    Input is read line by line again where it is set as an explorer sets it, and only there: what else somebody set
    is theirs.
    """
    with suppress(OSError, termios.error):
        os.write(descriptor, RESET.encode())
        attributes = termios.tcgetattr(descriptor)
        if not attributes[3] & _LOCAL and not attributes[0] & _INPUT:
            attributes[3] |= _LOCAL
            attributes[0] |= _INPUT
            termios.tcsetattr(descriptor, termios.TCSAFLUSH, attributes)
