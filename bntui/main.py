"""The explorer's entry point."""

from __future__ import annotations

import sys


def main() -> int:
    """Say plainly that the explorer is not part of this version, and what to use instead."""
    sys.stderr.write(
        "bntui: the explorer is not part of this version yet.\n"
        "Use `bnrun watch RUN` to follow a run and `bnrun show RUN` to plot it.\n"
    )
    return 2
