"""Requests to a run in readable form (pending, applied at a step, or rejected with a reason), and the settings in
force after them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bncore.config.change import changed
from bncore.config.errors import SpecError, escape_control, shown
from bncore.config.model import Spec
from bncore.config.overrides import ALIASES
from bncore.plain_files import read_plain
from bncore.store.columns import Columns
from bncore.store.dropped_requests import is_applied
from bncore.store.journal import Event
from bncore.store.paths import RunDir
from bncore.store.requests import Request, waiting

CHANGING = ("set", "control")
"""Kinds of requests that change settings of a run or controls of an observed loop."""
SPELLING = {path: name for name, path in ALIASES.items()}
"""Short name of a field, by its dotted path."""


@dataclass(frozen=True, slots=True)
class RequestView:
    """One request; every text is escaped for the terminal."""

    id: str
    author: str
    kind: str
    """set, control, pause, resume, step, checkpoint, evaluate, stop or note."""
    summary: str
    """The command in a few words, such as ``noise on``."""
    outcome: str
    """pending, applied or rejected."""
    step: int | None
    """Step at which it was applied or rejected; for a pending request, the step it waits for, if it names one."""
    reason: str


def journaled(events: Iterable[Event]) -> tuple[RequestView, ...]:
    """The requests that a run has answered, in order."""
    return tuple(_answered(event) for event in events if event["type"] == "request")


def in_inbox(run: RunDir, answered: Iterable[RequestView]) -> tuple[RequestView, ...]:
    """The requests in a run's inbox that are not among `answered`: first those that the run set aside as invalid
    or unauthorized, then the pending ones in order."""
    answered_ids = {request.id for request in answered}
    pending = tuple(_pending(request) for request in waiting(run) if request.id not in answered_ids)
    return (*_set_aside(run), *pending)


def summary(command: Mapping[str, Any]) -> str:
    """A command in a few words: ``noise on``, ``norm l1, lr 0.05``, ``step 3``, ``pause``."""
    kind = str(command.get("kind", ""))
    changes = command.get("changes")
    if kind in CHANGING and isinstance(changes, dict):
        return ", ".join(_change(str(path), value) for path, value in changes.items())
    if kind == "note":
        return escape_control(f"note: {command.get('text', '')}")
    if kind == "step":
        return f"step {shown(command.get('count', 1))}"
    return escape_control(kind)


def _change(path: str, value: object) -> str:
    name = SPELLING.get(path, path.removeprefix("probes."))
    if path.startswith("probes.") and path.endswith(".every"):
        name = f"{name.removesuffix('.every')} every"
    if isinstance(value, bool):
        return f"{escape_control(name)} {'on' if value else 'off'}"
    return f"{escape_control(name)} {escape_control(value) if isinstance(value, str) else shown(value)}"


def _answered(event: Event) -> RequestView:
    command = event.get("command")
    command = command if isinstance(command, dict) else {}
    return RequestView(
        id=str(event.get("id", "")),
        author=escape_control(str(event.get("author", ""))),
        kind=escape_control(str(command.get("kind", ""))),
        summary=summary(command),
        outcome="applied" if event.get("outcome") == "applied" else "rejected",
        step=event["step"],
        reason=escape_control(str(event.get("reason") or "")),
    )


def _pending(request: Request) -> RequestView:
    command = request.command.model_dump(mode="json")
    author, step = escape_control(request.author), request.command.at_step
    return RequestView(request.id, author, command["kind"], summary(command), "pending", step, "")


def _set_aside(run: RunDir) -> tuple[RequestView, ...]:
    """Files that the run set aside as invalid or from unauthorized users, each with its reason."""
    views = []
    with suppress(OSError):
        for path in sorted((run.inbox / "rejected").glob("*.reason")):
            ident = escape_control(path.name.removesuffix(".json.reason").rpartition("-")[2])
            reason = escape_control(read_plain(path).decode(errors="replace").strip())
            views.append(RequestView(ident, "", "", "a request", "rejected", None, reason))
    return tuple(views)


def with_changes(submitted: Spec | None, applied: Iterable[Event]) -> Spec | None:
    """The spec after the requests `applied`, in order; changes that do not fit it are skipped."""
    spec = submitted
    for event in applied:
        with suppress(SpecError, AttributeError, TypeError, KeyError):  # the journal may be malformed
            spec = spec and changed(spec, event["command"]["changes"])
    return spec


def applied_changes(columns: Columns, before: int | None = None) -> Iterator[Event]:
    """Requests that changed settings, beginning with those that a fork inherited.

    Arguments:
        before: yield only requests before this step; None: all.
    """
    if columns.parent is not None:
        yield from applied_changes(*columns.parent)
    for event in columns.events:
        if any(is_applied(event, kind) for kind in CHANGING) and (before is None or event["step"] < before):
            yield event
