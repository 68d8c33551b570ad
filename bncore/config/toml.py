"""Lossless conversion of a resolved `Spec` to and from TOML, the contents of a run directory's `spec.toml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tomli_w

from bncore.config.base import ConfigModel
from bncore.config.check import ConfigLayer, checked
from bncore.config.errors import Problem, SpecError
from bncore.config.model import Spec
from bncore.config.parse import read_table

OBSERVED = "observed"
"""Name of the table that replaces the spec of a run observing an external training loop
(`bncore.config.observed`)."""


def spec_to_toml(spec: Spec) -> str:
    """All fields of `spec` including defaults, so that later changes of defaults do not affect old runs."""
    return tomli_w.dumps(to_table(spec))


def spec_from_toml(path: Path) -> Spec:
    """Read what `spec_to_toml` wrote.

    Raises:
        SpecError: the file is missing, not TOML, or not a complete and valid specification; or the run observes an
            external training loop, which cannot be rerun from here.
    """
    whole = ConfigLayer(str(path), "", read_table(path))
    if OBSERVED in whole.table:
        raise SpecError([not_runnable(path)])
    return checked(Spec, whole)


def resolved_spec_from_toml(path: Path) -> Spec:
    """Read the spec of a run directory, in which every value is resolved.

    Raises:
        SpecError: as for `spec_from_toml`, or some value is still auto, as in an emptied file.
    """
    spec = spec_from_toml(path)
    values = {"device": spec.device, "threads": spec.threads, "data.source": spec.data.source}
    undecided = [field for field, value in values.items() if value == "auto"]
    if undecided:
        expected = "a value that was resolved when the run was submitted"
        raise SpecError([Problem(str(path), field, "auto", expected) for field in undecided])
    return spec


def not_runnable(path: Path) -> Problem:
    """The reason why a run that observes an external loop can be neither trained nor repeated from here."""
    message = "this run observed an external training loop: bnrun cannot run, resume, replay or fork it; "
    message += "`watch.replay` in its own script repeats its changes"
    return Problem(str(path), OBSERVED, message=message)


def to_table(part: ConfigModel) -> dict[str, Any]:
    """`part` as TOML values; fields that are None are left out, since TOML has no null value."""
    return part.model_dump(exclude_none=True)
