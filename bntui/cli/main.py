"""`bnrun`: the command line. Commands are thin: parse, call bncore, print."""

from __future__ import annotations

import os
import sys

import typer

from bntui.cli import bench, branch, inspect, keep, report, steer, submit, system, theory
from bntui.cli.exit_codes import ExitCode, exit_code_of
from bntui.cli.options import harmless

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


def main() -> int:
    """Run `bnrun`; errors a person can act upon are told in words, with the exit code of their kind."""
    try:
        app()
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except Exception as error:
        code = exit_code_of(error)
        if code is None:
            raise
        sys.stderr.write(harmless(f"bnrun: {error}\n"))
        return code
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
