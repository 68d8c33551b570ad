"""The presets, and the dialog that starts one: its description, its options, and the command to run."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from rich.text import Text
from textual import on
from textual.widget import Widget
from textual.widgets import Input, Static

from bncore.config.errors import escape_control
from bncore.config.load import load_experiment, preset_names
from bncore.config.plan import variant_names
from bntui.screens.dialog import Dialog
from bntui.widgets.formatting import MUTED


@dataclass(frozen=True, slots=True)
class PresetView:
    """A preset as the list shows it."""

    name: str
    figure: str
    title: str
    variants: tuple[str, ...]


def presets() -> tuple[PresetView, ...]:
    """All presets, by name. Takes a moment: every file is read and validated."""
    experiments = ((name, load_experiment(name)) for name in preset_names())
    return tuple(PresetView(name, one.figure, one.title, variant_names(one)) for name, one in experiments)


class Start(Dialog[tuple[str, ...]]):
    """Return the command-line options to start a preset with.

    Arguments:
        preset: preset to start.
    """

    DEFAULT_CSS = """
    Start Input { margin: 1 0; }
    """
    SUB_TITLE = "Enter start   Esc cancel"

    def __init__(self, preset: PresetView) -> None:
        super().__init__()
        self._preset, self.title = preset, f"Start {preset.name}"

    def body(self) -> Iterable[Widget]:
        yield Static(self._preset.title, markup=False)
        yield Static(Text(f"runs: {', '.join(self._preset.variants)}", MUTED), markup=False)
        yield Input(placeholder="options, such as --steps 500 --seeds 0,1")
        yield Static(id="command", markup=False)

    def on_mount(self) -> None:
        self._typed()

    @on(Input.Changed)
    def _typed(self) -> None:
        options = self._options()
        text = Text("unclosed quotation mark", "red") if options is None else self._command(options)
        self.query_one("#command", Static).update(text)

    @on(Input.Submitted)
    def _entered(self) -> None:
        options = self._options()
        if options is not None:
            self.dismiss(options)

    def _options(self) -> tuple[str, ...] | None:
        try:
            return tuple(shlex.split(self.query_one(Input).value))
        except ValueError:
            return None

    def _command(self, options: tuple[str, ...]) -> Text:
        words = ("bnrun", "preset", self._preset.name, "--detach", *options)
        return Text(escape_control(shlex.join(words)), MUTED)
