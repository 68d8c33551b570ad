"""`bnrun`: the command line. Commands are thin: parse, call bncore, print."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from bntui.cli.commands import LazyGroup
from bntui.cli.exit_codes import ExitCode
from bntui.version import version

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF)


class Bnrun(LazyGroup):
    """The group of all commands, which ends quietly if the reader of its output has gone."""

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        """Parse the command line; `--help` and `--version` print here."""
        with _reader_may_leave():
            return super().make_context(*arguments, **settings)

    def invoke(self, ctx: Any) -> Any:
        try:
            with _reader_may_leave():
                return super().invoke(ctx)
        except typer.BadParameter as error:
            from bncore.config.errors import own_words  # noqa: PLC0415 - not needed by `bnrun --help`

            error.message = own_words(error.message)
            raise


@contextmanager
def _reader_may_leave() -> Iterator[None]:
    """Exit 0 if standard output is closed early, as `| head` does."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        raise typer.Exit(ExitCode.OK) from None


app = typer.Typer(
    name="bnrun",
    cls=Bnrun,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bnrun {version()}")
        raise typer.Exit


@app.callback()
def bnrun(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """A laboratory for one question: why does normalization help optimization?

    A preset is an experiment that comes with the program; running one makes a sweep, a set of runs. RUN is a
    path, sweep/run, a unique prefix, or @last, the newest sweep. `bntui` shows runs live."""


def main() -> int:
    """Run `bnrun`; errors that a person can act on become messages with matching exit codes."""
    _tolerate_any_output()
    try:
        app()
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception as error:
        if isinstance(error, OSError) and error.filename is None and error.errno in UNWRITABLE:
            _discard_output()
            sys.stderr.write(f"bnrun: standard output cannot be written: {error.strerror}\n")
            return ExitCode.FAILED
        from bntui.cli.options import exit_code_of, say  # noqa: PLC0415 - not needed by `bnrun --help`

        code = exit_code_of(error)
        if code is None:
            raise
        say(f"bnrun: {error}")
        return code
    return ExitCode.OK


def _tolerate_any_output() -> None:
    """Discard output to closed streams, and replace or escape characters that the encoding cannot write."""
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 - until the end
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115 - until the end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace" if stream is sys.stdout else "backslashreplace")


def _discard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
