"""TOML as Python values, with limited nesting, so that recursive functions can walk them."""

from __future__ import annotations

import codecs
import tomllib
from pathlib import Path
from typing import Any

from bncore.config.errors import Problem, SpecError
from bncore.plain_files import read_plain

DEEPEST = 32
"""Maximum nesting of tables and lists; a specification has six levels."""


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        ValueError: it is not TOML, or is nested more than `DEEPEST` levels deep.
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
    """Read a TOML file; a leading byte-order mark is ignored.

    Raises:
        SpecError: the file cannot be read, is not UTF-8, is not TOML (with line and column), or is nested too
            deeply.
    """
    try:
        return parse_toml(read_plain(path).decode("utf-8-sig"))
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error})"
    except UnicodeDecodeError as error:
        hint = " (UTF-16?)" if error.object.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else ""
        reason = f"is not UTF-8 text (byte {error.start}){hint}"
    except ValueError as error:  # not TOML, or more than 4300 digits
        reason = f"is not TOML: {error}"
    raise SpecError([Problem(str(path), "", message=reason)])
