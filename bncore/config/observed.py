"""The contents of `spec.toml` for a run that observes an external training loop: a description, not runnable."""

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
    """An external training loop, as far as it is known."""

    title: Text = ""
    """Title of this run's figures."""
    model: Text
    """Class of the model."""
    loss: Text
    """Name of the loss function."""
    optimizer: Text
    """Class of the optimizer, and the settings of its first parameter group."""
    parameters: Count
    """Number of trained parameters (scalars)."""
    precision: Literal["float32", "float64"]
    """Precision of the parameters."""
    device: Text
    """Device of the parameters."""
    threads: Count
    """CPU threads of the process."""
    steps: NonNegativeCount = 0
    """Announced number of updates; 0: unknown."""
    seed: NonNegativeCount = 0
    """Seed of the probes' draws; nothing in the loop depends on it."""
    log_every: Count = 1
    """Interval, in steps, at which `step` events are journaled."""
    probes: Probes = Probes()
    """The probes' settings."""
    check: Literal["strict", "report"] = "strict"
    """Whether a loop whose gradient is not that of the loss is refused, or the deviation only journaled."""
    batch: Literal["", "local", "global"] = ""
    """If several processes make an update together: whether probes measure on one process's batch or on all."""
    tags: tuple[Text, ...] = ()
    """Words by which the run can be found."""
    config: dict[str, bool | int | float | Text] = Field(default_factory=dict)
    """Further settings of the loop by name, as given by its author."""


def observed_to_toml(observed: Observed) -> str:
    """The single table ``[observed]`` as TOML."""
    return tomli_w.dumps({OBSERVED: to_table(observed)})


def observed_from_toml(path: Path) -> Observed | None:
    """Read what `observed_to_toml` wrote; None if the file has no such table.

    Raises:
        SpecError: the file cannot be read, or the table is not valid.
    """
    table = read_table(path).get(OBSERVED)
    return None if table is None else _checked(Observed, str(path), OBSERVED, table)


def refuse_observed(path: Path) -> None:
    """Check that a run can be trained from its spec.toml; files that cannot be read are ignored here.

    Raises:
        SpecError: the run observes an external training loop.
    """
    try:
        is_observed = OBSERVED in read_table(path)
    except SpecError:
        return
    if is_observed:
        raise SpecError([not_runnable(path)])


def check_probes(table: object) -> Probes:
    """The settings of the probes as passed to `observe`.

    Raises:
        SpecError: all fields that are not valid.
    """
    return _checked(Probes, "observe", "probes", table, "a table such as {'landscape': {'every': 100}}")


def observed(**fields: Any) -> Observed:
    """A description from fields that the user may have given.

    Raises:
        SpecError: all fields that are not valid.
    """
    return checked(Observed, ConfigLayer("observe", "", fields))


def _checked(model: type[Model], file: str, prefix: str, table: object, accepted: str = "a table") -> Model:
    if not isinstance(table, Mapping):
        raise SpecError([Problem(file, prefix, table, accepted)])
    return checked(model, ConfigLayer(file, prefix, table))
