"""Everything a key does, in one table: it feeds the bindings, the line of keys, the help and the palette."""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding, BindingType

EVERYWHERE, HOME, RUNS, SWEEP, LAYERS, COMPARE, JOURNAL, SPEC = (
    "everywhere", "home", "runs", "sweep", "layers", "compare", "journal", "spec",
)  # fmt: skip
"""Where an action is known; RUNS is every screen that shows runs."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing a person can do."""

    name: str
    """As Textual calls it: a method ``action_<name>``, with arguments in parentheses."""
    keys: str
    """Comma separated, as Textual names them."""
    key: str
    """As shown to a person."""
    label: str
    """In the line of keys."""
    help: str
    """In the help and in the command palette."""
    scope: str
    rank: int = 9
    """Place in the line of keys, which begins with the lowest and drops the highest first; 9: not there."""
    changes_runs: bool = False
    """Refused in read-only mode and in recordings."""


ACTIONS: tuple[Action, ...] = (
    Action("help", "question_mark,f1", "?", "help", "What every key does", EVERYWHERE, 0),
    Action("leave", "q,ctrl+c", "q", "quit", "Leave; runs go on unless asked to stop", EVERYWHERE, 0),
    Action("go_back", "escape,backspace", "esc", "back", "Back to the sweep, then to all runs", EVERYWHERE, 6),
    Action("next_theme", "T", "T", "theme", "Dark, light, or the terminal's own colours", EVERYWHERE),
    Action("save_screen", "ctrl+s", "^s", "save screen", "Save the screen as SVG into this folder", EVERYWHERE),
    Action("playback_speed(2)", "right_curly_bracket", "}", "faster", "Play back twice as fast", EVERYWHERE),
    Action("playback_speed(0.5)", "left_curly_bracket", "{", "slower", "Play back half as fast", EVERYWHERE),
    Action("playback_seek(5)", "right_parenthesis", ")", "forward", "Play back from 5 s further on", EVERYWHERE),
    Action("playback_seek(-5)", "left_parenthesis", "(", "backward", "Play back from 5 s before", EVERYWHERE),
    Action("filter", "slash", "/", "filter", "Show only what contains a text", HOME, 3),
    Action("mark", "m", "m", "mark", "Mark the run, to compare it with others", HOME, 4),
    Action("compare_marked", "5", "5", "compare", "Compare the marked runs", HOME, 5),
    Action("view('sweep')", "1", "1", "sweep", "Runs and charts of the sweep", RUNS),
    Action("view('layers')", "2", "2", "layers", "One instrument across all layers", RUNS),
    Action("view('activations')", "3", "3", "activations", "Distributions of a layer's outputs over time", RUNS),
    Action("view('theory')", "4", "4", "theory", "The parts of Theorem 4.1, layer by layer", RUNS),
    Action("view('compare')", "5", "5", "compare", "Differences to a reference run, step by step", RUNS),
    Action("view('journal')", "6", "6", "journal", "Events and requests", RUNS),
    Action("view('spec')", "7", "7", "spec", "The resolved specs and where they differ", RUNS),
    Action("steer('noise')", "n", "n", "noise", "Switch noise on or off, or change its amplitude", RUNS, 1, True),
    Action("steer('norm')", "p", "p", "norm", "Another normalisation", RUNS, 1, True),
    Action("steer('lr')", "l", "l", "lr", "Another learning rate", RUNS, 1, True),
    Action("steer('probes')", "i", "i", "probes", "How often an instrument measures", RUNS, 4, True),
    Action("steer('pause')", "space", "space", "pause", "Pause; go on; restart what has ended", RUNS, 1, True),
    Action("steer('step')", "full_stop", ".", "step", "Make so many updates, then pause", RUNS, 2, True),
    Action("steer('fork')", "f", "f", "fork", "A new run that differs from here on", RUNS, 2, True),
    Action("steer('stop')", "x", "x", "stop", "Checkpoint and end; leave queued runs out", RUNS, 2, True),
    Action("steer('checkpoint')", "C", "C", "checkpoint", "Write a checkpoint that is kept", RUNS, 9, True),
    Action("steer('evaluate')", "E", "E", "evaluate", "Evaluate now, whatever the cadence", RUNS, 9, True),
    Action("steer('note')", "N", "N", "note", "Put a remark into the journal", RUNS, 5, True),
    Action("whole_sweep", "w", "w", "whole sweep", "Ask every run of the sweep, queued ones too", RUNS, 2),
    Action("select(1)", "down,j", "↓", "run", "Select the next run", RUNS),
    Action("select(-1)", "up,k", "↑", "run", "Select the run before", RUNS),
    Action("mark", "m", "m", "mark", "Mark the run, to ask several at once", RUNS, 5),
    Action("hide", "v", "v", "hide", "Hide the run's curves, or show them again", RUNS, 6),
    Action("layer(-1)", "left_square_bracket", "[", "layer", "The layer before", RUNS, 3),
    Action("layer(1)", "right_square_bracket", "]", "layer", "The next layer", RUNS, 3),
    Action("pick", "slash", "/", "charts", "Choose which charts are shown", SWEEP, 2),
    Action("chart(1)", "right", "→", "chart", "The next chart", SWEEP),
    Action("chart(-1)", "left", "←", "chart", "The chart before", SWEEP),
    Action("zoom_chart", "z,enter", "z", "zoom", "This chart alone, or all again", SWEEP, 4),
    Action("paper", "P", "P", "paper", "Draw the paper's curves too, where there are any", SWEEP),
    Action("save_chart('svg')", "", "", "chart as SVG", "Save the current chart as SVG into this folder", SWEEP),
    Action("save_chart('csv')", "", "", "chart as CSV", "Save the current chart as CSV into this folder", SWEEP),
    Action("instrument(1)", "slash", "/", "instrument", "The next instrument", LAYERS, 2),
    Action("instrument(-1)", "backslash", "\\", "instrument", "The instrument before", LAYERS),
    Action("measure(1)", "slash", "/", "measure", "The next measure", COMPARE, 2),
    Action("measure(-1)", "backslash", "\\", "measure", "The measure before", COMPARE),
    Action("reference", "r", "r", "reference", "Compare with the selected run", COMPARE, 2),
    Action("filter", "slash", "/", "filter", "Show only what contains a text", JOURNAL, 2),
    Action("filter", "slash", "/", "filter", "Show only what contains a text", SPEC, 2),
    Action("differences", "d", "d", "differences", "Only where the runs differ, or everything", SPEC, 2),
)  # fmt: skip


def bindings(*scopes: str) -> list[BindingType]:
    """The bindings of what is known in these scopes."""
    return [
        Binding(action.keys, action.name, action.label, show=False, system=True)
        for action in ACTIONS
        if action.scope in scopes and action.keys
    ]


def actions_of(scopes: tuple[str, ...]) -> list[Action]:
    """What can be done in these scopes, the nearest scope's own first."""
    return [action for scope in scopes for action in ACTIONS if action.scope == scope]
