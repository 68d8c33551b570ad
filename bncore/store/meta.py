"""What `meta.json` says of a run."""

from __future__ import annotations

from typing import Any

import orjson

from bncore.config.errors import escape_control
from bncore.plain_files import read_plain
from bncore.store.paths import RunDir


def meta_of(run: RunDir) -> dict[str, Any]:
    """``meta.json``; empty where it makes no sense."""
    try:
        table = orjson.loads(read_plain(run.meta_file))
    except (OSError, orjson.JSONDecodeError):
        return {}
    return table if isinstance(table, dict) else {}


def layer_names(run: RunDir) -> tuple[str, ...]:
    """Names of the layers of a network that is none of `bncore.nets`, in their order, without the parameter's own
    (``.weight``); escaped, none where the file does not say."""
    names = meta_of(run).get("layers")
    names = names if isinstance(names, list) else []
    return tuple(escape_control(str(name).removesuffix(".weight")) for name in names)
