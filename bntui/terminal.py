"""Restoring a terminal: switches off the modes that the explorer uses, after itself or after a killed explorer."""

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
    "2048",  # in-band size reports
)
RESET = "".join(
    (
        *(f"\x1b[?{mode}l" for mode in _OFF),
        "\x1b[<u",  # keyboard protocol
        "\x1b[?1047l",  # alternate screen; 1049 would move the cursor if no alternate screen is active
        "\x1b[?7h",  # line wrapping on
        "\x1b[?25h",  # cursor visible
    )
)
"""Escape sequences that switch off all modes; without visible effect on a terminal in its normal state."""
_LOCAL = termios.ECHO | termios.ICANON | termios.IEXTEN | termios.ISIG
_INPUT = termios.ICRNL | termios.IXON


def reset_terminal(descriptor: int) -> None:
    """Switch off the modes that a killed explorer left on; does nothing if the terminal is gone.

    Line-by-line input is restored only if the terminal is configured exactly as an explorer configures it, so that
    other settings are preserved.
    """
    with suppress(OSError, termios.error):
        os.write(descriptor, RESET.encode())
        attributes = termios.tcgetattr(descriptor)
        if not attributes[3] & _LOCAL and not attributes[0] & _INPUT:
            attributes[3] |= _LOCAL
            attributes[0] |= _INPUT
            termios.tcsetattr(descriptor, termios.TCSAFLUSH, attributes)
