"""The origin of a run that is a fork or a replay of another run.

``lineage.json`` holds the requests to repeat, as journaled by the other run, and how much memory its measurements
had. The worker treats both as if they stood in its own journal (architecture.md, decision 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

import orjson

from bncore.plain_files import read_plain
from bncore.store.errors import StoreError
from bncore.store.files import replace_file
from bncore.store.journal import PROBING, Event
from bncore.store.paths import RunDir

MEMORY = ("group", "budget", "short_of_memory", "reason")
"""Fields of a probe's event that tell how much memory was available to it."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """The other run, the step at which this one starts, and the requests to repeat."""

    kind: Literal["fork", "replay"]
    run: str
    """Path of the other run, relative to this run's directory."""
    step: int = 0
    """The first update that this run makes itself. The state before it is a copy of the other run's checkpoint."""
    at: int = 0
    """For a fork: the step at which its change is applied."""
    until: int | None = None
    """For a replay: how many updates the other run made, if it did not reach its end; else None."""
    requests: tuple[dict[str, Any], ...] = ()
    """Request events to repeat, in order."""
    measured: tuple[dict[str, Any], ...] = ()
    """`memory_of` the other run, so that its measurements are repeated with the same use of memory."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Settings, by dotted path, that differ from ``spec.toml`` when the run starts."""


def read_lineage(run: RunDir) -> Lineage | None:
    """The lineage of a run; None if it is neither a fork nor a replay.

    Raises:
        StoreError: the file exists but is invalid.
    """
    try:
        table = orjson.loads(read_plain(run.lineage_file))
    except FileNotFoundError:
        return None
    except (OSError, orjson.JSONDecodeError) as error:
        raise StoreError(f"{run.lineage_file}: cannot be read: {error}") from error
    if not _is_lineage(table):
        raise StoreError(f"{run.lineage_file}: not the lineage of a run")
    values = {f.name: table[f.name] for f in fields(Lineage) if f.name in table}
    return Lineage(**values | {name: tuple(table.get(name, ())) for name in ("requests", "measured")})


def write_lineage(run: RunDir, lineage: Lineage) -> None:
    """Write the lineage of a run that is being created.

    Raises:
        StoreError: the file system refuses.
    """
    replace_file(run.lineage_file, orjson.dumps(asdict(lineage), option=orjson.OPT_INDENT_2))


def memory_of(events: Iterable[Event]) -> Iterator[Event]:
    """How much memory was available to the measurements of a run.

    Yields step, name and `MEMORY` fields of each measurement that has them; of consecutive measurements of a probe
    with the same values, only the first.
    """
    latest: dict[str, Event] = {}
    for event in events:
        memory = {key: event[key] for key in MEMORY if key in event}
        if event["type"] not in PROBING or not memory.keys() & {"group", "budget", "short_of_memory"}:
            continue
        if event["type"] == "probe":
            if latest.get(event["name"]) == memory:
                continue
            latest[event["name"]] = memory
        yield {"step": event["step"], "name": event["name"], **memory}


def _is_lineage(table: object) -> bool:
    if not isinstance(table, dict) or table.get("kind") not in ("fork", "replay"):
        return False
    numbers = (table.get("step"), table.get("at"), table.get("until") or 0)
    requests, measured = table.get("requests"), table.get("measured", [])
    return (
        isinstance(table.get("run"), str)
        and all(isinstance(number, int) for number in numbers)
        and isinstance(requests, list)
        and all(isinstance(r, dict) and _is_request(r) for r in requests)
        and isinstance(table.get("changes", {}), dict)
        and isinstance(measured, list)
        and all(isinstance(m, dict) and _is_measurement(m) for m in measured)
    )


def _is_request(event: dict[str, Any]) -> bool:
    command = event.get("command")
    return (
        event.get("type") == "request"
        and isinstance(event.get("step"), int)
        and isinstance(event.get("id"), str)
        and isinstance(command, dict)
        and isinstance(command.get("kind"), str)
    )


def _is_measurement(event: dict[str, Any]) -> bool:
    return (
        isinstance(event.get("step"), int)
        and isinstance(event.get("name"), str)
        and isinstance(event.get("group", 0), int)
        and isinstance(event.get("budget", 0.0), int | float)
        and isinstance(event.get("reason", ""), str)
    )
