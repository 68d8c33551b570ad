"""`bntui`: the explorer's entry point. Imports before the first picture are kept to a minimum."""

from __future__ import annotations

import argparse
import codecs
import gc
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn, TextIO

from bncore.config.errors import escape_control
from bntui.version import version

USAGE = 2
SSH = ("SSH_CONNECTION", "SSH_TTY")


def main(arguments: list[str] | None = None) -> int:
    """Open the explorer and return the process's exit code, which is 0 if the reader of the output has gone."""
    gc.disable()  # until the first picture: objects created before it stay alive
    try:
        try:
            return _main(arguments)
        finally:
            gc.enable()
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _main(arguments: list[str] | None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["config"]:
        from bntui.configure import main as configure  # noqa: PLC0415 - lazily loaded command

        return configure(arguments[1:])
    options = _parse(arguments)
    why_not = refusal(os.environ, sys.stdin, sys.stdout, sys.stderr)
    if why_not:
        sys.stderr.write(f"bntui: {why_not}\nUse `bnrun watch --plain` to follow a run in lines of text.\n")
        return USAGE
    remote = any(os.environ.get(name) for name in SSH)
    os.environ.setdefault("TEXTUAL_FPS", "15" if remote else "120")  # read by Textual on import
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    from bntui.start import start  # noqa: PLC0415 - Textual, which reads the environment when imported

    return start(options, remote=remote)


def refusal(environment: Mapping[str, str], *streams: TextIO) -> str:
    """Why the explorer cannot run here; empty if it can."""
    if not all(stream.isatty() for stream in streams):  # Textual draws on standard error
        return "needs a terminal on standard input, output and error"
    if environment.get("TERM", "dumb") in ("dumb", "unknown", ""):
        return f"needs a terminal that can place text (TERM={environment.get('TERM', '')})"
    other = next((s.encoding for s in streams if codecs.lookup(s.encoding).name != "utf-8"), "")
    if other:
        return f"needs a UTF-8 terminal; here it is {other} (LANG, LC_ALL or PYTHONIOENCODING)"
    return ""


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line; ends the process if it is invalid."""
    parser = _parser()
    options = parser.parse_args(arguments)
    options.root = options.root or Path(os.environ.get("BNRUN_ROOT") or "runs")
    if options.demo and options.run is not None:
        parser.error(f"--demo plays back a recorded sweep of its own; {options.run} cannot be shown with it")
    there = os.path.lexists(options.root)
    if there and not options.demo and not os.path.isdir(options.root):  # noqa: PTH112 - never raises
        parser.error(f"{options.root}: not a directory; expected a directory of sweeps")
    return options


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(escape_control(message))


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        sys.stdout.write(f"bntui {version()}\n")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="bntui",
        description="Watch and steer runs; without an argument, all runs and the presets. "
        "`bntui config` shows and edits your preferences.",
    )
    named = "a run, a sweep, a unique prefix, @last, or a folder of sweeps"
    parser.add_argument("run", nargs="?", metavar="RUN_OR_DIR", help=named)
    parser.add_argument(
        "--speed", type=_speed, metavar="X", help="play back a finished run at X times its speed"
    )
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="sweep root directory [default: $BNRUN_ROOT, else ./runs]"
    )
    parser.add_argument("--read-only", action="store_true", help="send no requests to runs")
    mouse = argparse.BooleanOptionalAction
    parser.add_argument("--mouse", action=mouse, default=None, help="capture the mouse [default: yes]")
    themes = ("dark", "light", "ansi")
    parser.add_argument("--theme", choices=themes, help="ansi: the terminal's own 16 colors [default: dark]")
    parser.add_argument(
        "--no-config", action="store_true", help="ignore the preferences (see `bntui config -h`)"
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    parser.add_argument("--demo", action="store_true", help="play back a recorded sweep; nothing is trained")
    return parser


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: expected a positive number, such as 20")
    return speed


if __name__ == "__main__":
    sys.exit(main())
