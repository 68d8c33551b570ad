"""`bntui config`: shows the effective preferences and where each comes from, and edits their file."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from bncore.config.errors import SpecError, escape_control
from bntui.actions import rebound
from bntui.keymap import SCOPES
from bntui.preferences import Preferences, line_of, preferences_file, read_preferences, template

FAILED, USAGE = 1, 2


def main(arguments: list[str]) -> int:
    """Show or edit preferences; return the process's exit code."""
    options = _parse(arguments)
    file = preferences_file()
    if options.path:
        print_line(str(file))
        return 0
    try:
        if options.edit:
            edit(file)
        preferences = read_preferences(file)
    except SpecError as error:
        sys.stderr.write(f"bntui: {error}\n")
        return USAGE
    except OSError as error:
        sys.stderr.write(escape_control(f"bntui: {error}") + "\n")
        return FAILED
    lines = [] if options.edit else keys_of(preferences) if options.keys else shown(preferences, file)
    for line in lines:
        print_line(line)
    return 0


def shown(preferences: Preferences, file: Path) -> list[str]:
    """Effective preferences, each as a line of TOML with its origin."""
    there = "" if os.path.lexists(file) else " (not there: everything is as it comes)"
    lines = [f"# {file}{there}"]
    values = {
        name: value for name, value in preferences if name != "keys"
    } | {f"keys.{action}": keys.split(",") for action, keys in preferences.keys.items()}  # fmt: skip
    written = [f"{name} = {line_of('x', value)[4:]}" for name, value in values.items()]
    width = max(map(len, written))
    for name, line in zip(values, written, strict=True):
        own = name in preferences.model_fields_set or name.startswith("keys.")
        lines.append(f"{line:<{width}}  # {'file' if own else 'default'}")
    return lines


def keys_of(preferences: Preferences) -> list[str]:
    """All actions whose keys can be changed, with their current keys."""
    actions = [action for action in rebound(preferences.keys) if action.scope in SCOPES]
    names, keys = [action.id for action in actions], [" ".join(action.all_keys) for action in actions]
    widths = max(map(len, names)), max(map(len, keys))
    return [
        f"{name:<{widths[0]}}  {key:<{widths[1]}}  {action.help}"
        for action, name, key in zip(actions, names, keys, strict=True)
    ]


def edit(file: Path) -> None:
    """Open the file in the person's editor; a new file starts with all defaults as comments.

    Raises:
        OSError: the file cannot be created, there is no editor, or the editor fails.
    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or shutil.which("vi") or ""
    if not editor:
        raise OSError(f"no editor: set $VISUAL or $EDITOR, or edit {file}")
    if not os.path.lexists(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as opened:
            opened.write(template())
    code = subprocess.run([*shlex.split(editor), str(file)], check=False).returncode
    if code:
        raise OSError(f"{editor} ended with exit code {code}")


def print_line(text: str) -> None:
    sys.stdout.write(escape_control(text) + "\n")


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bntui config", description="Show the preferences that hold, and where each comes from."
    )
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--edit", action="store_true", help="open the file in $VISUAL or $EDITOR")
    one.add_argument("--path", action="store_true", help="print where the file is")
    one.add_argument("--keys", action="store_true", help="list all actions with their keys")
    return parser.parse_args(arguments)
