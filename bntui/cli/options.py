"""Options shared by several commands, with their completions."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Iterable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from bncore.config.errors import SpecError, escape_control
from bncore.config.load import preset_names
from bncore.data import DataError
from bncore.store.errors import NoSuchRun, StoreError
from bncore.store.find import list_places
from bncore.store.paths import SweepDir
from bntui.cli.exit_codes import ExitCode


def default_root() -> Path:
    """The default sweep root directory: ``$BNRUN_ROOT``, else ``./runs``."""
    return Path(os.environ.get("BNRUN_ROOT") or "runs")


def complete_preset(incomplete: str) -> list[str]:
    """Preset names that start with `incomplete`."""
    return [name for name in preset_names() if name.startswith(incomplete)]


def complete_run(incomplete: str) -> list[str]:
    """Sweeps, or once a slash has been typed runs, that start with `incomplete`."""
    places = list_places(default_root())
    sweeps = [place for place in places if isinstance(place, SweepDir)]
    names = [escape_control(place.path.name) for place in places]
    names = [run.name for sweep in sweeps for run in sweep.runs()] if "/" in incomplete else names
    return [name for name in names if name.startswith(incomplete)]


def _existing(root: Path | None) -> Path | None:
    """Callback that refuses a root that is not there, which is probably misspelled."""
    if root is not None and not os.path.isdir(root):  # noqa: PTH112 - never raises
        raise typer.BadParameter(escape_control(f"{root}: no such directory; expected a directory of sweeps"))
    return root


def _root(callback: Callable[[Path | None], Path | None] | None = None) -> Any:
    words = "Sweep root directory.  [default: $BNRUN_ROOT, else ./runs]"
    return typer.Option("--root", help=words, show_default=False, callback=callback)


Root = Annotated[Path | None, _root(_existing)]
NewRoot = Annotated[Path | None, _root()]
"""A root that is created if it does not exist."""
Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A path, sweep/run, a unique prefix, or @last.", autocompletion=complete_run
    ),
]
Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RUN...]",
        help="Paths, sweep/run, unique prefixes, @last, or patterns such as 'exp0*' (quoted).",
        autocompletion=complete_run,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


def counted(number: int, noun: str) -> str:
    """A number with a noun: ``1 run``, ``2 runs``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def say(text: str) -> None:
    """Print on standard error, with control characters escaped."""
    typer.echo(escape_control(text, keep="\n\t"), err=True)


def fail(message: str, code: ExitCode = ExitCode.FAILED) -> NoReturn:
    """End the command with a message and an exit code."""
    say(f"bnrun: {message}")
    raise typer.Exit(code)


def refuse(option: str, reason: str) -> NoReturn:
    """Raise BadParameter for an option or argument, with control characters escaped."""
    raise typer.BadParameter(escape_control(reason), param_hint=option)


def refuse_existing(paths: Iterable[Path]) -> None:
    """Raise BadParameter if one of the files to be written exists."""
    taken = next((path for path in paths if path.exists()), None)
    if taken is not None:
        refuse("--out", f"{taken}: exists; nothing was written; expected a new folder")


def exit_code_of(error: Exception) -> ExitCode | None:
    """Exit code for an error that a person can act on; None for a bug, which deserves its traceback."""
    if isinstance(error, NoSuchRun):
        return ExitCode.NO_RUN
    if isinstance(error, PermissionError) and error.filename is not None:
        return ExitCode.USAGE
    return ExitCode.USAGE if isinstance(error, SpecError | StoreError | DataError) else None


def with_options(
    name: str, kind: Callable[..., object], fields: Collection[str] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator that replaces a command's argument `name` by options for the fields of a dataclass, and passes an
    instance of it as that argument.

    Arguments:
        fields: names of the fields to use; default: all.
    """
    every = inspect.signature(kind, eval_str=True).parameters
    options = [every[one].replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in fields or every]

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def taking(**given: Any) -> None:
            command(**{name: kind(**{one.name: given.pop(one.name) for one in options})}, **given)

        signature = inspect.signature(command, eval_str=True)
        parameters = []
        for one in signature.parameters.values():
            parameters += options if one.name == name else [one.replace(kind=inspect.Parameter.KEYWORD_ONLY)]
        taking.__annotations__ = {one.name: one.annotation for one in parameters}
        taking.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # typer reads it
        return taking

    return decorated
