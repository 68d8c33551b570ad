"""`bnrun`: the command line. Commands are thin: parse, call bncore, print."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path

import typer

from bntui.cli import bench, branch, inspect, keep, report, steer, submit, system, theory
from bntui.cli.exit_codes import ExitCode, exit_code_of
from bntui.cli.options import escape_control

app = typer.Typer(
    name="bnrun",
    help="A laboratory for one question: why does normalisation help optimisation?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for room in (submit, inspect, steer, branch, keep, report, system, bench, theory):
    room.register(app)

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF)


def main() -> int:
    """Run `bnrun`; errors a person can act upon are told in words, with the exit code of their kind."""
    _take_output_as_it_is()
    try:
        app()
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        _write_no_more()
        return ExitCode.OK
    except Exception as error:
        if isinstance(error, OSError) and error.filename is None and error.errno in UNWRITABLE:
            _write_no_more()
            sys.stderr.write(f"bnrun: standard output cannot be written: {error.strerror}\n")
            return ExitCode.FAILED
        code = exit_code_of(error)
        if code is None:
            raise
        sys.stderr.write(escape_control(f"bnrun: {error}\n"))
        return code
    return ExitCode.OK


def _take_output_as_it_is() -> None:
    """What goes to a stream that was closed goes nowhere, and what its encoding cannot write becomes ``?``."""
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 - until the end
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115 - until the end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace" if stream is sys.stdout else "backslashreplace")


def _write_no_more() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
