"""The settings that hold in a run: as it was submitted, with what was changed by request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from bncore.config.change import changed
from bncore.config.errors import SpecError
from bncore.config.model import Spec
from bncore.follow.request_view import CHANGING
from bncore.store.columns import Columns
from bncore.store.dropped_requests import is_applied
from bncore.store.journal import Event


def with_changes(submitted: Spec | None, applied: Iterable[Event]) -> Spec | None:
    """The spec that holds after the requests `applied`, in order; what does not fit it is passed over."""
    spec = submitted
    for event in applied:
        with suppress(SpecError, AttributeError, TypeError, KeyError):  # whatever the journal says
            spec = spec and changed(spec, event["command"]["changes"])
    return spec


def applied_changes(columns: Columns, before: int | None = None) -> Iterator[Event]:
    """Requests that changed settings, those that a fork inherited first."""
    if columns.parent is not None:
        yield from applied_changes(*columns.parent)
    for event in columns.events:
        if any(is_applied(event, kind) for kind in CHANGING) and (before is None or event["step"] < before):
            yield event
