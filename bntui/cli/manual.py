"""`man`: pages for man(1), generated from the help texts of the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command

from bntui.cli.commands import COMMANDS, load_command
from bntui.cli.main import app
from bntui.cli.options import fail, say
from bntui.version import version


def man(
    folder: Annotated[
        Path, typer.Argument(help="Where man looks, such as ~/.local/share/man.", metavar="DIR")
    ],
) -> None:
    """Write man pages of all commands."""
    section = folder / "man1"
    group: Any = get_command(app)
    group.commands = {name: load_command(name) for name in COMMANDS}
    pages = dict(walk(group, group.make_context("bnrun", [], resilient_parsing=True)))
    try:
        section.mkdir(parents=True, exist_ok=True)
        for name, text in pages.items():
            (section / f"{name}.1").write_text(text)
    except OSError as error:
        fail(f"{section}: cannot be written: {error.strerror}")
    say(f"{len(pages)} pages in {section}; `man bnrun`")


def walk(command: Any, context: Any) -> Iterator[tuple[str, str]]:
    """Names and pages of a command and its subcommands."""
    yield context.command_path.replace(" ", "-"), "\n".join(page(command, context)) + "\n"
    for name, inner in getattr(command, "commands", {}).items():
        yield from walk(inner, inner.make_context(name, [], parent=context, resilient_parsing=True))


def page(command: Any, context: Any) -> Iterator[str]:
    """Lines of a command's page in roff."""
    name = context.command_path.replace(" ", "-")
    commands = getattr(command, "commands", {})
    summary, _, rest = (command.help or "").partition("\n\n")
    yield f'.TH {name.upper()} 1 "" "bnrun {version()}"'
    yield f".SH NAME\n{name} \\- {_roff(summary)}"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f".SH SYNOPSIS\n.B {_roff(context.command_path)}\n{_roff(usage)}"
    if rest.strip():
        yield ".SH DESCRIPTION"
        yield from (f"{_roff(paragraph)}\n.PP" for paragraph in rest.split("\n\n"))
    records = [record for one in command.get_params(context) if (record := one.get_help_record(context))]
    if records:
        yield ".SH OPTIONS"
        yield from (f".TP\n.B {_roff(left)}\n{_roff(right)}" for left, right in records)
    if commands:
        yield ".SH COMMANDS"
        summaries = ((name, (inner.help or "").partition("\n")[0]) for name, inner in commands.items())
        yield from (f".TP\n.B {_roff(name)}\n{_roff(summary)}" for name, summary in summaries)


def _roff(text: str) -> str:
    """Text escaped for roff: on one line, and never starting with a roff request."""
    plain = re.sub(r"\s+", " ", text).strip().replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{plain}" if plain.startswith((".", "'")) else plain
