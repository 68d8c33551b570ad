"""The origin of a run that is a fork or a replay of another run.

``lineage.json`` holds the requests to repeat, as journaled by the other run, and how much memory its measurements
had. The worker treats both as if they stood in its own journal (architecture.md, decision 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, BaseModel, TypeAdapter, ValidationError

from bncore.plain_files import read_plain
from bncore.store.errors import StoreError
from bncore.store.files import replace_file
from bncore.store.journal import PROBING, Event
from bncore.store.paths import RunDir

MEMORY = ("group", "budget", "short_of_memory", "reason")
"""Fields of a probe's event that tell how much memory was available to it."""


class _Command(BaseModel):
    kind: str


class _Request(BaseModel):
    """What is relied on in a request event."""

    type: Literal["request"]
    step: int
    id: str
    command: _Command


class _Memory(BaseModel):
    """What is relied on in an event of `memory_of`."""

    step: int
    name: str
    group: int = 0
    budget: float = 0.0
    reason: str = ""


def _checked(model: type[BaseModel]) -> AfterValidator:
    """Check an event against a model, and keep it as it is."""
    return AfterValidator(lambda event: model.model_validate(event, strict=True) and event)


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
    requests: tuple[Annotated[dict[str, Any], _checked(_Request)], ...] = ()
    """Request events to repeat, in order."""
    measured: tuple[Annotated[dict[str, Any], _checked(_Memory)], ...] = ()
    """`memory_of` the other run, so that its measurements are repeated with the same use of memory."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Settings, by dotted path, that differ from ``spec.toml`` when the run starts."""


_LINEAGE = TypeAdapter(Lineage)


def read_lineage(run: RunDir) -> Lineage | None:
    """The lineage of a run; None if it is neither a fork nor a replay.

    Raises:
        StoreError: the file exists but is invalid.
    """
    try:
        return _LINEAGE.validate_python(orjson.loads(read_plain(run.lineage_file)))
    except FileNotFoundError:
        return None
    except (OSError, orjson.JSONDecodeError) as error:
        raise StoreError(f"{run.lineage_file}: cannot be read: {error}") from error
    except ValidationError as error:
        raise StoreError(f"{run.lineage_file}: not the lineage of a run") from error


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
