"""``controls.json``: what may be changed in an observed loop while it trains, and what holds there now."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from pydantic import TypeAdapter, ValidationError

from bncore.config.change import parse_changes
from bncore.config.controls import Control, parse_controls
from bncore.plain_files import read_plain
from bncore.store.commands import Command, Set, SetControls
from bncore.store.files import replace_file
from bncore.store.paths import RunDir

_CONTROLS = TypeAdapter(tuple[Control, ...])


def write_controls(run: RunDir, controls: Sequence[Control]) -> None:
    """Put all declared controls there.

    Raises:
        StoreError: the file system refuses.
    """
    table = [control.model_dump(exclude_defaults=True) for control in controls]
    replace_file(run.controls_file, orjson.dumps(table, option=orjson.OPT_INDENT_2))


def read_controls(run: RunDir) -> tuple[Control, ...] | None:
    """The controls of an observed loop; None where there are none to be had, as of every run of our own."""
    try:
        return _CONTROLS.validate_python(orjson.loads(read_plain(run.controls_file)))
    except (OSError, ValueError, ValidationError):
        return None


def set_command(controls: Sequence[Control] | None, texts: Sequence[str], at_step: int | None) -> Command:
    """The request that texts such as ``lr=0.05`` mean for a run with these controls, or for one of our own.

    Raises:
        SpecError: every problem with them.
    """
    if controls is None:
        return Set(changes=parse_changes(texts), at_step=at_step)
    return SetControls(changes=parse_controls(texts, controls), at_step=at_step)
