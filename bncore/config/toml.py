"""A resolved `Spec` as TOML, exactly: what `spec.toml` of a run directory holds."""

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
"""The table in the place of a spec where a run watches somebody's own loop (`bncore.config.observed`)."""


def spec_to_toml(spec: Spec) -> str:
    """Every field of `spec`, defaults included, so that a later default changes no old run."""
    return tomli_w.dumps(to_table(spec))


def spec_from_toml(path: Path) -> Spec:
    """Read what `spec_to_toml` wrote.

    Raises:
        SpecError: the file is missing, is no TOML, or is no complete and valid specification; or the run watches a
            loop of somebody's own, which nothing here can rerun.
    """
    whole = ConfigLayer(str(path), "", read_table(path))
    if OBSERVED in whole.table:
        raise SpecError([not_runnable(path)])
    return checked(Spec, whole)


def resolved_spec_from_toml(path: Path) -> Spec:
    """Read the spec of a run directory, where nothing is left to decide.

    Raises:
        SpecError: as `spec_from_toml`, or something in it still says auto, as an emptied file does.
    """
    spec = spec_from_toml(path)
    values = {"device": spec.device, "threads": spec.threads, "data.source": spec.data.source}
    undecided = [field for field, value in values.items() if value == "auto"]
    if undecided:
        expected = "a value that was resolved when the run was submitted"
        raise SpecError([Problem(str(path), field, "auto", expected) for field in undecided])
    return spec


def not_runnable(path: Path) -> Problem:
    """Why a run that watches somebody's own loop can be neither trained nor repeated from here."""
    message = "this run observed an external training loop: bnrun cannot run, resume, replay or fork it"
    return Problem(str(path), OBSERVED, message=message)


def to_table(part: ConfigModel) -> dict[str, Any]:
    """`part` as TOML values; a field that is None is left out, since TOML has no such value."""
    return part.model_dump(exclude_none=True)
