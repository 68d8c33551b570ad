"""Watching heartbeats until they move: how a run whose process cannot be asked for is told dead."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from bncore.store.paths import OwnedDir
from bncore.store.status import SILENCE_S, read_status

LOOK_EVERY_S = 0.5


def find_stalled(
    runs: Sequence[OwnedDir],
    *,
    seconds: float = SILENCE_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> list[OwnedDir]:
    """Those of `runs` whose heartbeat's counter does not move for so many seconds of this process's own clock.

    Returns as soon as every heartbeat has moved, which takes two seconds where all are alive.
    """
    begun, first = clock(), [_counter(run) for run in runs]
    still = list(range(len(runs)))
    while still and clock() - begun < seconds:
        sleep(LOOK_EVERY_S)
        still = [i for i in still if _counter(runs[i]) == first[i]]
    return [runs[i] for i in still]


def _counter(run: OwnedDir) -> int | None:
    status = read_status(run)
    return None if status is None else status.counter
