"""TOML as Python values, none of them nested so deeply that a function which calls itself cannot walk them."""

from __future__ import annotations

import codecs
import tomllib
from pathlib import Path
from typing import Any

from bncore.config.errors import Problem, SpecError
from bncore.plain_files import read_plain

DEEPEST = 32
"""Levels of tables and lists; a specification has six."""


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        ValueError: it is no TOML, or is nested more than `DEEPEST` levels.
    """
    too_deep = f"nested too deeply; expected at most {DEEPEST} levels"
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise ValueError(too_deep) from None
    level: list[Any] = [table]
    for _ in range(DEEPEST):
        level = [item for one in level for item in (one.values() if isinstance(one, dict) else one)]
        level = [item for item in level if isinstance(item, dict | list)]
        if not level:
            return table
    raise ValueError(too_deep)


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
