"""A resolved `Spec` as TOML, exactly: what `spec.toml` of a run directory holds."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any

import tomli_w

from bncore.config.base import ConfigModel
from bncore.config.check import ConfigLayer, check
from bncore.config.errors import Problem, SpecError
from bncore.config.model import Spec
from bncore.config.parse import parse_toml
from bncore.plain_files import read_plain

OBSERVED = "observed"
"""The table in the place of a spec where a run watches somebody's own loop (`bncore.config.observed`)."""


def spec_to_toml(spec: Spec) -> str:
    """Every field of `spec`, defaults included, so that a later default changes no old run."""
    return tomli_w.dumps(to_table(spec))


def spec_from_toml(path: Path) -> Spec:
    """Read what `spec_to_toml` wrote.

    Raises:
        SpecError: the file is missing, is no TOML, or is no complete and valid specification; or the run watches a
            loop of somebody's own, which nothing here can make again.
    """
    whole = ConfigLayer(str(path), "", read_table(path))
    if OBSERVED in whole.table:
        raise SpecError([not_runnable(path)])
    spec, problems = check(Spec, whole.table, lambda _: whole)
    if spec is None:
        raise SpecError(problems)
    return spec


def resolved_spec_from_toml(path: Path) -> Spec:
    """Read the spec of a run directory, where nothing is left to decide.

    Raises:
        SpecError: as `spec_from_toml`, or something in it still says auto, as an emptied file does.
    """
    spec = spec_from_toml(path)
    values = {"device": spec.device, "threads": spec.threads, "data.source": spec.data.source}
    undecided = [field for field, value in values.items() if value == "auto"]
    if undecided:
        expected = "a value that was settled when the run was submitted"
        raise SpecError([Problem(str(path), field, "auto", expected) for field in undecided])
    return spec


def not_runnable(path: Path) -> Problem:
    """Why a run that watches somebody's own loop can be neither trained nor repeated from here."""
    message = (
        "this run observed a loop of somebody's own: it cannot be run, resumed, replayed or forked from here"
    )
    return Problem(str(path), OBSERVED, message=message)


def to_table(part: ConfigModel) -> dict[str, Any]:
    """`part` as TOML values; a field that is None is left out, since TOML has no such value."""
    return part.model_dump(exclude_none=True)


def read_table(path: Path) -> dict[str, Any]:
    """Read a TOML file. A byte-order mark before it is passed over.

    Raises:
        SpecError: it cannot be read, is not UTF-8, is not TOML (with line and column), or is nested too deeply.
    """
    try:
        return parse_toml(read_plain(path).decode("utf-8-sig"))
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error})"
    except UnicodeDecodeError as error:
        hint = " (UTF-16?)" if error.object.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else ""
        reason = f"is not UTF-8 text (byte {error.start}){hint}"
    except ValueError as error:  # no TOML, or more than 4300 digits
        reason = f"is not TOML: {error}"
    raise SpecError([Problem(str(path), "", message=reason)])
