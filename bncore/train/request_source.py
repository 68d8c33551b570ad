"""`requests_at(step)`: the single source of requests (docs/explanation/architecture.md, decision 3).

For steps already in the journal, requests come from the journal, so a resumed run applies the same requests at the
same steps. A fork or a replay also repeats requests of its original, which are stored in its lineage. After that,
requests come from the inbox, which a thread polls so that training never waits for the file system. `ResumePoint`
determines which journaled events are not yet in the state that a run resumes from.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from bncore.config.change import Changes
from bncore.store.dropped_requests import in_effect, is_applied
from bncore.store.journal import REPLAYED_EVENTS, Event, Journal
from bncore.store.lineage import Lineage
from bncore.store.paths import RunDir
from bncore.store.requests import Request, pending
from bncore.train.handlers import ALLOWED_IN_REPLAY, HANDLERS, UNCHANGED, Answer, Handler, RequestRefused


@dataclass(frozen=True)
class ResumePoint:
    """The point at which a run resumes: its state includes everything before a step, and some requests at it."""

    step: int = 0
    """The first update to make."""
    changes: Changes = field(default_factory=dict)
    """Settings that differ from the spec."""
    requests: tuple[str, ...] = ()
    """Ids of the requests at that step that the state includes; ids are the same in a fork's journal."""
    evaluated: bool = False
    """Whether the evaluation at that step has been made."""
    copied: bool = False
    """Whether the state is a copy of another run's, whose notes and evaluation are in that run's journal."""

    def events_ahead(self, events: Sequence[Event]) -> list[Event]:
        """Journaled events that the state does not include, in order: requests to apply, events to repeat, and
        evaluations to make again (`UNMADE`)."""
        ahead, notes = [], 0
        for event in in_effect(events, unmade=True):
            kind, here = event["type"], event["step"] == self.step
            if event["step"] < self.step or kind not in REPLAYED_EVENTS | {"request"}:
                continue
            if kind == "request" and event["id"] in self.requests:
                notes += is_applied(event, "note") and not self.copied
            elif kind == "note" and here and notes:
                notes -= 1
            elif not (kind == "eval" and here and self.evaluated):
                ahead.append(event)
        return ahead


START = ResumePoint()
"""The state at initialization."""


POLL_S = 0.2


class Requests:
    """The requests of one run, by step.

    Arguments:
        run: the run directory.
        journal: the open journal with its present events.
        lineage: the lineage of a fork or a replay; None for other runs.
        resume_point: where the run resumes; requests in that state are reported but not applied again.
        handlers: handler of each kind of request, for the runs passed to `apply`.
    """

    def __init__(
        self,
        run: RunDir,
        journal: Journal,
        lineage: Lineage | None = None,
        resume_point: ResumePoint = START,
        *,
        handlers: Mapping[str, Handler[Any]] = HANDLERS,
    ) -> None:
        self._run = run
        self._handlers = handlers
        self._journal = journal
        self._replaying = lineage is not None and lineage.kind == "replay"
        self._done = {event["id"] for event in journal.events if event["type"] == "request"}
        ahead = resume_point.events_ahead(journal.events)
        self._journaled = _by_step(event for event in ahead if event["type"] == "request")
        script = lineage.requests if lineage is not None else ()
        self._script = _by_step(event for event in script if event["id"] not in self._done)
        self._in_state = frozenset(resume_point.requests)
        self._taken = resume_point.step, list(resume_point.requests)
        self._waiting: list[Request] = []
        self._refused: deque[str] = deque()
        self._seen: set[str] = set()  # names of the files already read
        self._seen_ids: set[str] = set()  # ids of requests waiting or taken, perhaps not journaled yet
        self._arrived = threading.Event()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="inbox", daemon=True)

    def start(self) -> None:
        """Read the inbox once, then start polling it."""
        self.poll_inbox()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def wait(self) -> None:
        """Sleep until a request arrives, for at most 0.2 seconds."""
        self._arrived.wait(POLL_S)
        self._arrived.clear()

    def requests_at(self, step: int) -> Iterator[Event | Request]:
        """Yield what to apply before update `step`: journaled requests, then those of the original run, then
        requests from the inbox. The caller must apply each one before it asks for the next.

        Inbox requests with a lasting effect are held back until all journaled events have been repeated.
        """
        yield from self._journaled.pop(step, ())
        yield from self._script.pop(step, ())
        while self._refused:
            self._journal.append("warning", step, text=f"inbox: {self._refused.popleft()}")
        caught_up = self._journal.caught_up and not self._journaled
        yield from self._take_waiting(
            lambda r: _due(r, step) and (caught_up or not self._handlers[r.command.kind].replayed)
        )

    def has_due(self, step: int) -> bool:
        """Whether `requests_at` might yield anything."""
        if step in self._journaled or step in self._script or self._refused:
            return True
        if not self._waiting:
            return False
        with self._lock:
            return any(_due(request, step) for request in self._waiting)

    def stops_at(self, step: int) -> bool:
        """Whether `requests_at` would yield a request to stop the run."""
        script = any(
            self._takes_effect(e) and e["command"]["kind"] == "stop" for e in self._script.get(step, ())
        )
        with self._lock:
            return script or any(r.command.kind == "stop" and _due(r, step) for r in self._waiting)

    def applied_ids(self, step: int) -> list[str]:
        """Ids of the requests at this step that have been taken so far."""
        at, taken = self._taken
        return taken if at == step else []

    def apply(self, request: Event | Request, run: object, step: int) -> None:
        """Apply one result of `requests_at`: journal it, put it into effect, and then remove its file."""
        if not isinstance(request, Request):
            if request["id"] not in self._done:  # from the original run
                request = self._tried(request, run)
                self._append(request, step)
            if self._takes_effect(request):
                self._take(request["id"], step)
                self._handlers[request["command"]["kind"]].apply(run, request["command"])
            return
        handler, command = self._handlers[request.command.kind], request.command.model_dump()
        self._take(request.id, step)
        try:
            self._refuse_if_misplaced(request, step)
            answer = handler.answer(run, command)
        except RequestRefused as refusal:
            self._journal_request(request, step, reason=str(refusal))
        except Exception as error:  # an unforeseen error in a request must not end the run
            self._journal_request(request, step, reason=f"{type(error).__name__}: {error}")
        else:
            self._journal_request(request, step, answer)
            handler.apply(run, command)
        _remove(request)

    def _tried(self, event: Event, run: object) -> Event:
        """The original run's request with this run's outcome: what was applied there may be refused here."""
        if not self._takes_effect(event):
            return event
        try:
            self._handlers[event["command"]["kind"]].answer(run, event["command"])
        except Exception as error:  # as for requests from the inbox
            reason = str(error) if isinstance(error, RequestRefused) else f"{type(error).__name__}: {error}"
            return event | {"outcome": "rejected", "old": None, "new": None, "reason": reason}
        return event

    def reject_rest(self, step: int, reason: str) -> None:
        """Journal all waiting requests as rejected and remove their files."""
        for event in self._script.pop(step, []):  # requests that also came too late in the original run
            self._append(event, step)
        self.poll_inbox()
        self._reject(step, lambda _: True, reason)

    def reject_stale(self, step: int, stale: Collection[str]) -> None:
        """Journal requests to an earlier process of this run as rejected: that process has ended, and whoever
        resumed the run wants it to continue.

        Arguments:
            stale: ids of those requests: the result of `bncore.store.requests.halting` when the run was resumed.
        """
        reason = "asked of an earlier process of this run, which has ended"
        self._reject(step, lambda request: request.id in stale, reason)

    def _take_waiting(self, which: Callable[[Request], bool]) -> list[Request]:
        with self._lock:
            taken = [request for request in self._waiting if which(request)]
            self._waiting = [request for request in self._waiting if request not in taken]
        return taken

    def _reject(self, step: int, which: Callable[[Request], bool], reason: str) -> None:
        for request in self._take_waiting(which):
            self._journal_request(request, step, reason=reason)
            _remove(request)

    def poll_inbox(self) -> None:
        """Read new files in the inbox."""
        new = pending(self._run, seen=self._seen, refused=self._refused.append)
        with self._lock:
            for request in new:
                self._seen.add(request.path.name)
                if request.id in self._done:  # killed after journaling it, before removing its file
                    _remove(request)
                elif request.id not in self._seen_ids:
                    self._seen_ids.add(request.id)
                    self._waiting.append(request)
        if self._waiting:
            self._arrived.set()

    def _takes_effect(self, event: Event) -> bool:
        """Whether to apply a journaled request again: it was applied, lasts, and is not yet in the state."""
        replayed = self._handlers[event["command"]["kind"]].replayed
        return replayed and event["outcome"] == "applied" and event["id"] not in self._in_state

    def _take(self, ident: str, step: int) -> None:
        self._taken = step, [*self.applied_ids(step), ident]

    def _refuse_if_misplaced(self, request: Request, step: int) -> None:
        at = request.command.at_step
        if at is not None and at < step:
            raise RequestRefused(f"step {at} has passed: the run is at {step}")
        if self._replaying and request.command.kind not in ALLOWED_IN_REPLAY:
            raise RequestRefused("a replay accepts only the requests of the run that it repeats")

    def _append(self, event: Event, step: int) -> None:
        fields = {key: value for key, value in event.items() if key not in ("seq", "t", "type", "step")}
        self._journal.append("request", step, **fields)
        self._done.add(event["id"])

    def _journal_request(
        self, request: Request, step: int, answer: Answer = UNCHANGED, reason: str = ""
    ) -> None:
        journal_request(self._journal, request, step, answer, reason)
        self._done.add(request.id)

    def _poll(self) -> None:
        while not self._stop.wait(POLL_S):
            self.poll_inbox()


def journal_request(
    journal: Journal, request: Request, step: int, answer: Answer = UNCHANGED, reason: str = ""
) -> Event:
    """Journal a request as applied, or as rejected if `reason` is not empty; returns the event."""
    about = {"id": request.id, "author": request.author, "command": request.command.model_dump(mode="json")}
    outcome = "rejected" if reason else "applied"
    return journal.append("request", step, **about, outcome=outcome, **answer._asdict(), reason=reason)


def _remove(request: Request) -> None:
    """Remove a request's file. If that fails, the journal prevents the request from being taken twice."""
    with suppress(OSError):
        request.path.unlink(missing_ok=True)


def _due(request: Request, step: int) -> bool:
    at: int | None = request.command.at_step
    return at is None or at <= step


def _by_step(events: Iterable[Event]) -> dict[int, list[Event]]:
    grouped: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        grouped[event["step"]].append(event)
    return grouped
