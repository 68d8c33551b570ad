"""The commands of `bnrun`, and a group that imports a command's module only when it is used."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup


class Entry(NamedTuple):
    """One command."""

    target: str
    """`module:name` in `bntui.cli` of its function, or of a Typer app with subcommands."""
    summary: str
    """Its line in `bnrun --help`, and the first line of its own help."""


GROUPS = {
    "Run": {
        "preset": Entry("submit:submit", "Run one of the paper's experiments (see `bnrun presets`)."),
        "run": Entry("submit:submit", "Run an experiment from a TOML file."),
        "fork": Entry("branch:fork", "Start a new run from a step of RUN, with changes."),
        "replay": Entry("branch:replay", "Run again from the journal and compare the results."),
    },
    "Look": {
        "presets": Entry("inspect:presets", "List the experiments that come with the program."),
        "ls": Entry("ls:ls", "List sweeps and their runs."),
        "show": Entry("show:show", "Plot runs, and the runs of sweeps, together."),
        "top": Entry("top:top", "Show live runs and the resources they use."),
        "watch": Entry("inspect:watch", "Follow runs or sweeps until they end."),
        "logs": Entry("inspect:logs", "Print the logs of runs."),
    },
    "Steer": {
        "set": Entry("steer:set_", "Change settings of a live run, or of every run of a sweep."),
        "pause": Entry("steer:pause", "Pause live runs, or every run of sweeps."),
        "step": Entry("steer:step", "Run a number of steps, then pause."),
        "resume": Entry("resume:resume", "Resume paused runs; restart stopped or dead ones."),
        "stop": Entry("steer:stop", "Checkpoint and end runs; cancel queued ones."),
        "checkpoint": Entry("steer:checkpoint", "Save a checkpoint of live runs."),
        "evaluate": Entry("steer:evaluate", "Evaluate live runs now."),
        "note": Entry("steer:note", "Add a note to the journal of a run or of a sweep's runs."),
    },
    "Keep": {
        "verify": Entry("keep:verify", "Check journals, checkpoints and digests of runs."),
        "export": Entry("export:export", "Write a run's tables or charts as files."),
        "rm": Entry("keep:rm", "Remove runs or sweeps."),
    },
    "Science": {
        "report": Entry("report:report", "Plot the paper's figures and judge its claims from runs."),
        "claims": Entry("report:claims", "List the paper's claims and the presets that test each."),
        "theory": Entry("theory:theory", "Check the paper's theorems on small networks."),
    },
    "Machine": {
        "doctor": Entry("system:doctor", "Report versions, devices, folders and data."),
        "data": Entry("system:data_app", "Download data sets."),
        "bench": Entry("bench:bench_app", "Measure speed and memory on this machine."),
        "schema": Entry("system:schema", "Print the JSON schema of experiment files and specs."),
        "man": Entry("manual:man", "Write man pages of all commands."),
    },
}
"""All commands, grouped as in `bnrun --help`."""
COMMANDS = {name: entry for group in GROUPS.values() for name, entry in group.items()}


def load_command(name: str) -> TyperCommand | TyperGroup:
    """Import a command. Its help starts with the summary; the first paragraph of its docstring is not shown."""
    module, _, attribute = COMMANDS[name].target.partition(":")
    target = getattr(import_module(f"bntui.cli.{module}"), attribute)
    app = target
    if not isinstance(target, typer.Typer):
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        details = (inspect.getdoc(target) or "").partition("\n\n")[2]
        app.command(name, help=f"{COMMANDS[name].summary}\n\n{details}")(target)
    command: TyperCommand | TyperGroup = typer.main.get_command(app)  # type: ignore[assignment]  # it makes no other
    return command


class LazyGroup(TyperGroup):
    """The group of `COMMANDS`; lists and completes command names without importing the commands."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {
            name: TyperCommand(name, help=entry.summary, short_help=entry.summary, rich_markup_mode=None)
            for name, entry in COMMANDS.items()
        }

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the command to run or complete, in place of its stub with name and summary."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, None if command is None else load_command(command.name or ""), rest

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the summaries, group by group."""
        width = max(map(len, COMMANDS))
        for title, commands in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:<{width}}", entry.summary) for name, entry in commands.items()])
