"""`requests_at(step)`: the single source of requests (DESIGN, decision 3).

Where the journal already speaks of a step, the journal answers: a resumed run takes the same requests at the same
steps. From there on the inbox answers, polled by a thread so that training waits for no file system.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import TYPE_CHECKING

from bncore.store.journal import REMADE, Event, Journal
from bncore.store.paths import RunDir
from bncore.store.requests import Request, pending
from bncore.train.commands import HANDLERS

if TYPE_CHECKING:
    from bncore.train.trainer import Trainer

POLL_S = 0.2


class Requests:
    """The requests of one run, by step.

    Arguments:
        run: the run directory.
        journal: opened, with the events that are already there.
    """

    def __init__(self, run: RunDir, journal: Journal) -> None:
        self._run = run
        self._journal = journal
        self._journaled: dict[int, list[Event]] = defaultdict(list)
        for event in journal.events:
            if event["type"] == "request":
                self._journaled[event["step"]].append(event)
        self._done = {event["id"] for events in self._journaled.values() for event in events}
        past_requests = REMADE - {"note"}
        self.closed = max((e["step"] for e in journal.events if e["type"] in past_requests), default=-1)
        """The last step at which the journal has gone past the requests: what was asked at or before it is all
        journaled."""
        self._waiting: list[Request] = []
        self._taken: set[str] = set()  # out of _waiting, perhaps not yet journaled
        self._arrived = threading.Event()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="inbox", daemon=True)

    def start(self) -> None:
        """Begin polling the inbox; what already waits there is seen at once."""
        self._look()
        self._thread.start()

    def stop(self) -> None:
        """End polling."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def wait(self) -> None:
        """Sleep until something arrives, a fifth of a second at most."""
        self._arrived.wait(POLL_S)
        self._arrived.clear()

    def requests_at(self, step: int) -> list[Event | Request]:
        """What is to be applied before update `step`: journaled events, then requests from the inbox."""
        found: list[Event | Request] = list(self._journaled.pop(step, []))
        if step > self.closed and self._waiting:
            with self._lock:
                due = [r for r in self._waiting if r.command.at_step is None or r.command.at_step <= step]
                self._waiting = [r for r in self._waiting if r not in due]
                self._taken |= {r.id for r in due}
            found += due
        return found

    def settle(self, request: Event | Request, trainer: Trainer, step: int) -> None:
        """Apply one of `requests_at`: journaled first, then made true, then its file goes."""
        if not isinstance(request, Request):
            handler = HANDLERS[request["command"]["kind"]]
            if handler.again and request["outcome"] == "applied":
                handler.apply(trainer, request["command"])
            return
        self._journal_request(request, step)
        HANDLERS[request.command.kind].apply(trainer, request.command.model_dump())
        request.path.unlink(missing_ok=True)

    def reject_rest(self, step: int, reason: str) -> None:
        """Journal as rejected whatever still waits; its files go."""
        self._look()
        with self._lock:
            left, self._waiting = self._waiting, []
            self._taken |= {r.id for r in left}
        for request in left:
            self._journal_request(request, step, reason)
            request.path.unlink(missing_ok=True)

    def _journal_request(self, request: Request, step: int, reason: str = "") -> None:
        self._journal.append(
            "request",
            step,
            id=request.id,
            author=request.author,
            command=request.command.model_dump(mode="json"),
            outcome="rejected" if reason else "applied",
            old=None,
            new=None,
            reason=reason,
        )
        self._done.add(request.id)

    def _poll(self) -> None:
        while not self._stop.wait(POLL_S):
            self._look()

    def _look(self) -> None:
        found = pending(self._run)
        with self._lock:
            known = {request.id for request in self._waiting} | self._taken | self._done
            for request in found:
                if request.id in self._done:
                    request.path.unlink(missing_ok=True)
                elif request.id not in known:
                    self._waiting.append(request)
                    known.add(request.id)
        if self._waiting:
            self._arrived.set()
