"""TOML as Python values, none of them nested so deeply that a function which calls itself cannot walk them."""

from __future__ import annotations

import tomllib
from typing import Any

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
