"""Opening the explorer: its preferences, what it shows first, and its run until it is left."""

from __future__ import annotations

import argparse
import codecs
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from textual.drivers import linux_driver

from bncore.config.errors import SpecError, escape_control
from bncore.store.errors import StoreError
from bncore.store.find import find, list_places
from bncore.store.paths import SweepDir
from bntui.app import Explorer
from bntui.context import RunOrSweep
from bntui.live.demo import SPEED, demo_sweep
from bntui.live.watch import Disk
from bntui.preferences import Preferences, Settings, preferences_file, read_preferences
from bntui.terminal import reset_terminal

FAILED, USAGE, NO_RUN = 1, 2, 3


def start(options: argparse.Namespace, *, remote: bool) -> int:
    """Open the explorer with the options of the command line; returns the process's exit code."""
    try:
        preferences = Preferences() if options.no_config else read_preferences(preferences_file())
    except SpecError as error:
        sys.stderr.write(
            f"bntui: {error}\nSee `bntui config --edit`; `bntui --no-config` ignores the file.\n"
        )
        return USAGE
    slow = remote and "refresh" not in preferences.model_fields_set
    given = {"theme": options.theme, "mouse": options.mouse, "refresh": 0.5 if slow else None}
    settings = Settings(
        root=options.root,
        read_only=options.read_only,
        speed=options.speed,
        demo=options.demo,
        **preferences.model_dump() | {name: value for name, value in given.items() if value is not None},
    )
    with ExitStack() as cleaning:
        try:
            settings, place = _place_to_show(settings, options.run, cleaning)
        except OSError as error:
            sys.stderr.write(f"bntui: {error}\n")
            return FAILED
        except LookupError as error:
            sys.stderr.write(f"bntui: {error}\n")
            return NO_RUN
        if settings.speed is not None and place is None:
            sys.stderr.write("bntui: --speed: expected together with a run or a sweep, to play back\n")
            return USAGE
        explorer = Explorer(settings, Disk(settings.root, settings.speed), place)
        _tolerate_any_byte()
        reset_terminal(sys.stderr.fileno())
        explorer.run(mouse=settings.mouse)
    return FAILED if explorer.return_code is None else explorer.return_code


def _tolerate_any_byte() -> None:
    """Accept input that is not UTF-8, such as from a terminal that sends Alt as the eighth bit; Textual by itself
    would end on it."""
    decoder = codecs.getincrementaldecoder("utf-8")
    setattr(linux_driver, "getincrementaldecoder", lambda _: partial(decoder, errors="replace"))  # noqa: B010 - untyped


def _place_to_show(
    settings: Settings, name: str | None, cleaning: ExitStack
) -> tuple[Settings, RunOrSweep | None]:
    """Settings, and what to show first.

    Raises:
        LookupError: the name matches nothing or is ambiguous; the message is escaped.
        OSError: the recorded sweep cannot be unpacked.
    """
    if settings.demo:
        unpacked = TemporaryDirectory(prefix="bntui-demo-", ignore_cleanup_errors=True)
        sweep = demo_sweep(Path(cleaning.enter_context(unpacked)))
        return settings.model_copy(update={"speed": settings.speed or SPEED}), SweepDir(sweep)
    if name is None:
        return settings, None
    try:
        return settings, find(settings.root, name)
    except StoreError as error:
        folder = Path(name)
        if folder.is_dir() and list_places(folder):
            return settings.model_copy(update={"root": folder}), None
        raise LookupError(escape_control(str(error))) from error
