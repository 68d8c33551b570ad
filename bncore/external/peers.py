"""Messages between the processes of one loop between two updates, through the store of their process group. No
device waits for them, and no process waits for one that never observes."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from typing import Any

import orjson
from torch import distributed as dist

from bncore.probes.processes import Processes

PATIENCE_S = 600.0
"""Seconds that another process may take to answer a request, such as an evaluation."""
LONGEST_NAP_S = 0.05
MESSAGES_KEPT = 100_000
"""Messages kept; far more than processes that make each update together can lag behind."""

_NUMBERS = itertools.count()


class Peers:
    """The first process sends, the others receive the same messages in the same order."""

    def __init__(self, processes: Processes) -> None:
        self.count, self.rank = processes.count, processes.rank
        self._sent = 0
        if self.count > 1:
            common = dist.distributed_c10d._get_default_store()
            self._store = dist.distributed_c10d.PrefixStore(f"bncore.observe/{next(_NUMBERS)}", common)

    def announce(self) -> None:
        """Announce that this process listens."""
        self._store.set(f"listens/{self.rank}", "")

    @property
    def missing(self) -> list[int]:
        """Processes that do not listen."""
        return [rank for rank in range(1, self.count) if not self._store.check([f"listens/{rank}"])]

    def send(self, **message: Any) -> None:
        """Send a message to all other processes."""
        if self.count == 1:
            return
        self._store.set(f"{self._sent}", orjson.dumps(message).decode())
        if self._sent >= MESSAGES_KEPT:
            self._store.delete_key(f"{self._sent - MESSAGES_KEPT}")
        self._sent += 1

    def receive(self) -> dict[str, Any]:
        """Wait for the next message and return it."""
        self._wait(f"{self._sent}", math.inf)
        message: dict[str, Any] = orjson.loads(self._store.get(f"{self._sent}"))
        self._sent += 1
        return message

    def acknowledge(self, reason: str) -> None:
        """Tell the first process why this one could not carry out the newest message; empty: it did."""
        self._store.set(f"{self._sent - 1}/{self.rank}", reason)

    def refusals(self) -> Iterator[str]:
        """Reasons why other processes could not carry out the newest message."""
        for rank in range(1, self.count):
            key = f"{self._sent - 1}/{rank}"
            answered = self._wait(key, PATIENCE_S)
            reason = self._store.get(key).decode() if answered else f"no answer within {PATIENCE_S:.0f} s"
            if reason:
                yield f"process {rank}: {reason}"

    def _wait(self, key: str, patience: float) -> bool:
        """Wait for a key for at most `patience` seconds; return whether it appeared."""
        nap, end = 1e-4, time.monotonic() + patience
        while not self._store.check([key]):
            if time.monotonic() > end:
                return False
            time.sleep(nap)
            nap = min(2 * nap, LONGEST_NAP_S)
        return True
