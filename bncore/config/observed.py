"""What `spec.toml` holds of a run that watches somebody's own training loop: a description, nothing to run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import Field

from bncore.config.base import ConfigModel, Count, NonNegativeCount, Text
from bncore.config.check import ConfigLayer, Model, checked
from bncore.config.errors import Problem, SpecError
from bncore.config.parse import read_table
from bncore.config.probes import Probes
from bncore.config.toml import OBSERVED, not_runnable, to_table


class Observed(ConfigModel):
    """A training loop that is somebody's own, as far as it is known."""

    title: Text = ""
    """Title of this run's figures."""
    model: Text
    """The model's class."""
    loss: Text
    """The loss function's name."""
    optimizer: Text
    """The optimizer's class and the settings of its first group of parameters."""
    parameters: Count
    """How many numbers are trained."""
    precision: Literal["float32", "float64"]
    """Of the parameters."""
    device: Text
    """Where they are."""
    threads: Count
    """CPU threads of the process."""
    steps: NonNegativeCount = 0
    """How many updates the loop was said to make; 0: it was not said."""
    seed: NonNegativeCount = 0
    """Of what the probes draw; nothing in the loop depends on it."""
    log_every: Count = 1
    """A `step` event is journaled every so many steps."""
    probes: Probes = Probes()
    """Instruments."""
    check: Literal["strict", "report"] = "strict"
    """Whether a loop whose gradient is not that of the loss is refused, or the deviation journaled."""
    batch: Literal["", "local", "global"] = ""
    """Where several processes make an update together: whether probes measure on the batch of one of them."""
    tags: tuple[Text, ...] = ()
    """Words that the run is found by."""
    config: dict[str, bool | int | float | Text] = Field(default_factory=dict)
    """What else the loop's owner says of it, by name."""


def observed_to_toml(observed: Observed) -> str:
    """The one table ``[observed]``."""
    return tomli_w.dumps({OBSERVED: to_table(observed)})


def observed_from_toml(path: Path) -> Observed | None:
    """What `observed_to_toml` wrote; None where the file holds no such table.

    Raises:
        SpecError: the file cannot be read, or the table makes no sense.
    """
    table = read_table(path).get(OBSERVED)
    return None if table is None else _checked(Observed, str(path), OBSERVED, table)


def refuse_observed(path: Path) -> None:
    """Make sure that a run can be trained from its spec.toml; a file that cannot be read is for others to judge.

    Raises:
        SpecError: it watches somebody's own loop.
    """
    try:
        found = OBSERVED in read_table(path)
    except SpecError:
        return
    if found:
        raise SpecError([not_runnable(path)])


def check_probes(table: object) -> Probes:
    """The settings of the probes as a person gives them to `observe`.

    Raises:
        SpecError: every field that is not as it should be.
    """
    return _checked(Probes, "observe", "probes", table, "a table such as {'landscape': {'every': 100}}")


def observed(**fields: Any) -> Observed:
    """A description, of fields that a person may have given.

    Raises:
        SpecError: every field that is not as it should be.
    """
    return checked(Observed, ConfigLayer("observe", "", fields))


def _checked(model: type[Model], file: str, prefix: str, table: object, accepted: str = "a table") -> Model:
    if not isinstance(table, Mapping):
        raise SpecError([Problem(file, prefix, table, accepted)])
    return checked(model, ConfigLayer(file, prefix, table))
