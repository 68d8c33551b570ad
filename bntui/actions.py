"""All actions in one table, which feeds the bindings, the key line, the help and the command palette."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from textual.binding import Binding, BindingType
from textual.keys import format_key

EVERYWHERE, HOME, RUNS, SWEEP, LAYERS, COMPARE, JOURNAL, SPEC, LOG, MACHINE, CHARTS, CURVES, LISTS = (
    "everywhere", "home", "runs", "sweep", "layers", "compare", "journal", "spec", "log",
    "machine", "charts", "curves", "lists",
)  # fmt: skip
"""Scopes in which an action is available. RUNS is every page about runs. CHARTS, LISTS and CURVES (charts other
than heat maps) are widgets."""
ALWAYS, WINDOWS, HELP, PICKER, LAYOUTS, QUIT, REQUESTS, FILTERS, QUERIES = (
    "always", "windows", "help", "picker", "layouts", "quit", "requests", "filters", "queries",
)  # fmt: skip
"""Scopes with fixed keys: Textual's own, those of dialogs, and those that accompany a text input."""
SCREENS = (
    {EVERYWHERE, HOME, LISTS},
    *({EVERYWHERE, RUNS, page, CHARTS, CURVES} for page in (SWEEP, LAYERS, COMPARE, MACHINE)),
    *({EVERYWHERE, RUNS, page, LISTS} for page in (JOURNAL, SPEC, LOG)),
)
"""Sets of scopes that are available together; the keys of these scopes can be changed."""

KEY_NAMES = {
    "ctrl+c": "^c", "ctrl+s": "^s", "ctrl+p": "^p", "ctrl+q": "^q", "enter": "Enter",
    "backspace": "Backspace", "escape": "Esc", "space": "Space", "tab": "Tab", "shift+tab": "Shift+Tab",
    "pageup": "PgUp", "pagedown": "PgDn", "home": "Home", "end": "End", "shift+up": "Shift+↑",
    "shift+down": "Shift+↓", "shift+left": "Shift+←", "shift+right": "Shift+→", "delete": "Del",
    "up": "↑", "down": "↓", "left": "←", "right": "→", **{f"f{n}": f"F{n}" for n in range(1, 25)},
}  # fmt: skip
"""Display names of keys that Textual would write differently."""
IDS = {
    "zoom(1)": "zoom_in", "zoom(-1)": "zoom_out", "pan(-1, 0)": "pan_left", "pan(1, 0)": "pan_right",
    "scroll_side(-1000000000)": "side_first", "scroll_side(1000000000)": "side_last",
    "pan(0, 1)": "pan_up", "pan(0, -1)": "pan_down", "move(-1000000000)": "first", "move(1000000000)": "last",
    "playback_speed(2)": "playback_faster", "playback_speed(0.5)": "playback_slower",
    "playback_seek(5)": "playback_forward", "playback_seek(-5)": "playback_backward",
}  # fmt: skip
"""Names in preferences for actions whose arguments are not words."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that a person can do."""

    name: str
    """Textual's action name: a method ``action_<name>``, with arguments in parentheses."""
    keys: str
    """Keys, comma separated, with Textual's names."""
    label: str
    """Label in the key line."""
    help: str
    """Description in the help and in the command palette."""
    scope: str
    rank: int = 9
    """Rank in the key line, which starts with the lowest and drops the highest first; 9: not shown."""
    changes_runs: bool = False
    """Whether it is refused in read-only mode and in playbacks."""

    @property
    def id(self) -> str:
        """Name in preferences: ``sweep.band``, ``runs.steer_noise``, ``runs.layer_next``."""
        method, _, argument = self.name.rstrip(")").partition("(")
        words = {"": "", "1": "_next", "-1": "_previous"}.get(argument, f"_{argument.strip(chr(39))}")
        return f"{self.scope}.{IDS.get(self.name, method + words)}"

    @property
    def key(self) -> str:
        """Display name of its first key; empty if it has none."""
        return next(iter(self.all_keys), "")

    @property
    def all_keys(self) -> tuple[str, ...]:
        """Display names of all its keys."""
        return tuple(key_name(key) for key in self.keys.split(",") if key)


def key_name(key: str) -> str:
    """Display name of a key."""
    return KEY_NAMES.get(key) or format_key(key)


ACTIONS: tuple[Action, ...] = (
    Action("help", "question_mark,f1", "help", "What every key does", EVERYWHERE, 0),
    Action("leave", "q,ctrl+c", "quit", "Quit; runs continue unless you stop them", EVERYWHERE, 0),
    Action("go_back", "escape,backspace", "back", "Back to the sweep, then to all runs", EVERYWHERE, 6),
    Action("next_theme", "T", "theme", "Dark, light, or the terminal's own colors", EVERYWHERE),
    Action("save_screen", "ctrl+s", "save screen", "Save the screen as SVG into this folder", EVERYWHERE),
    Action("filter", "slash", "filter", "Show only runs that match a query (docs/reference/queries.md)", HOME, 3),
    Action("mark", "m", "mark", "Mark the run, to compare it with others", HOME, 4),
    Action("compare_marked", "5", "compare", "Compare the marked runs", HOME, 5),
    Action("view('sweep')", "1", "sweep", "Runs and charts of the sweep", RUNS),
    Action("view('layers')", "2", "layers", "One measure across all layers", RUNS),
    Action("view('activations')", "3", "activations", "Distributions of a layer's outputs over time", RUNS),
    Action("view('theory')", "4", "theory", "The terms of Theorem 4.1, layer by layer", RUNS),
    Action("view('compare')", "5", "compare", "Differences to a reference run, step by step", RUNS),
    Action("view('journal')", "6", "journal", "Events and requests", RUNS),
    Action("view('spec')", "7", "spec", "The resolved specs and where they differ", RUNS),
    Action("view('machine')", "8", "machine", "CPU, memory, GPU, and where the time goes", RUNS),
    Action("view('log')", "9", "log", "The text log of a run, or of its sweep's supervisor", RUNS),
    Action("steer('noise')", "n", "noise", "Switch noise on or off, or change its amplitude", RUNS, 1, True),
    Action("steer('norm')", "p", "norm", "Change the normalization", RUNS, 1, True),
    Action("steer('lr')", "l", "lr", "Change the learning rate", RUNS, 1, True),
    Action("steer('set')", "S", "set", "Change any setting, or a control of an observed loop", RUNS, 4, True),
    Action("steer('probes')", "i", "probes", "Change how often a probe measures", RUNS, 4, True),
    Action("steer('pause')", "space", "pause", "Pause or resume; restart a run that has ended", RUNS, 1, True),
    Action("steer('step')", "full_stop", "step", "Run N steps, then pause", RUNS, 2, True),
    Action("steer('fork')", "f", "fork", "Start a new run from here with other settings", RUNS, 2, True),
    Action("steer('stop')", "x", "stop", "Checkpoint and stop; cancel queued runs", RUNS, 2, True),
    Action("steer('checkpoint')", "C", "checkpoint", "Write a checkpoint and keep it", RUNS, 9, True),
    Action("steer('evaluate')", "E", "evaluate", "Evaluate now", RUNS, 9, True),
    Action("steer('note')", "N", "note", "Add a note to the journal", RUNS, 5, True),
    Action("whole_sweep", "w", "whole sweep", "Send requests to every run of the sweep", RUNS, 2, True),
    Action("select(1)", "down,j", "run", "Select the next run", RUNS),
    Action("select(-1)", "up,k", "run", "Select the previous run", RUNS),
    Action("scroll_side(1)", "pagedown", "scroll", "Scroll the crosshair's readings, or the changes", RUNS),
    Action("scroll_side(-1)", "pageup", "scroll", "Scroll the crosshair's readings, or the changes", RUNS),
    Action("scroll_side(-1000000000)", "home", "scroll", "Go to their beginning or end", RUNS),
    Action("scroll_side(1000000000)", "end", "scroll", "Go to their beginning or end", RUNS),
    Action("mark", "m", "mark", "Mark the run, to steer several together", RUNS, 5),
    Action("hide", "v", "hide", "Hide the run's curves, or show them again", RUNS, 6),
    Action("isolate", "V", "only these", "Hide all but the marked runs, else the selected; or show all", RUNS),
    Action("reference", "r", "reference", "Pin the selected run or group as the reference, or unpin it", RUNS, 7),
    Action("marks", "e", "events", "Events in charts: with texts, numbered as the changes are, or hidden", RUNS),
    Action("y_range", "R", "y range", "Enter the y range of the current chart, or let it fit", RUNS),
    Action("go_to", "at", "go to", "Enter a step for the crosshair, or 0:5000 for the steps shown", RUNS),
    Action("layer(-1)", "left_square_bracket", "layer", "The previous layer", RUNS, 3),
    Action("layer(1)", "right_square_bracket", "layer", "The next layer", RUNS, 3),
    Action("layer_at", "number_sign", "layer", "Enter the number of a layer", RUNS),
    Action("copy('reading')", "Y", "copy", "Copy the readings at the crosshair as a table", RUNS),
    Action("copy('path')", "", "copy path", "Copy the path of the run, or of each run of the group", RUNS),
    Action("copy('resume')", "", "copy resume command", "Copy the command that resumes the run or group", RUNS),
    Action("copy('table')", "", "copy table", "Copy the runs and their newest values as a table (TSV)", RUNS),
    Action("playback_speed(0.5)", "left_curly_bracket", "speed", "Half or twice the playback speed", RUNS, 1),
    Action("playback_speed(2)", "right_curly_bracket", "speed", "Half or twice the playback speed", RUNS, 1),
    Action("playback_seek(-5)", "left_parenthesis", "seek", "Skip 5 s back or forward in the playback", RUNS, 1),
    Action("playback_seek(5)", "right_parenthesis", "seek", "Skip 5 s back or forward in the playback", RUNS, 1),
    Action("groups", "g", "groups", "Means over the seeds of each variant, or single runs", SWEEP, 6),
    Action("band", "b", "band", "What the band around a mean shows", SWEEP, 7),
    Action("group_by", "B", "group by", "Group runs by variant or by a setting", SWEEP),
    Action("facets", "F", "facets", "A chart for each variant or value of a setting, or all charts again", SWEEP),
    Action("axis", "X", "axis", "Draw over steps, training loss, epochs, samples, share of run, or time", SWEEP),
    Action("pick", "slash", "charts", "Choose which charts are shown", SWEEP, 2),
    Action("save_layout", "W", "save layout", "Save charts, axis, band and grouping under a name", SWEEP),
    Action("layouts", "L", "layouts", "Show a saved layout, or delete one", SWEEP),
    Action("chart(1)", "right", "chart", "The next chart", SWEEP),
    Action("chart(-1)", "left", "chart", "The previous chart", SWEEP),
    Action("maximize_chart", "z,enter", "maximize", "Maximize chart, or show all charts", SWEEP, 4),
    Action("paper", "P", "paper", "Overlay the paper's curves, where there are any", SWEEP),
    Action("save_chart('svg')", "", "chart as SVG", "Save the current chart as SVG into this folder", SWEEP),
    Action("save_chart('csv')", "", "chart as CSV", "Save the current chart as CSV into this folder", SWEEP),
    Action("measure(1)", "slash", "measure", "The next measure", LAYERS, 2),
    Action("measure(-1)", "backslash", "measure", "The previous measure", LAYERS),
    Action("measure(1)", "slash", "measure", "The next measure", COMPARE, 2),
    Action("measure(-1)", "backslash", "measure", "The previous measure", COMPARE),
    Action("filter", "slash", "filter", "Show only rows that contain a text", JOURNAL, 2),
    Action("filter", "slash", "filter", "Show only rows that contain a text", SPEC, 2),
    Action("filter", "slash", "filter", "Show only lines that contain a text", LOG, 2),
    Action("next_log", "d", "next log", "The log of the group's next run, then the supervisor's", LOG, 2),
    Action("shift_runs(-1)", "left", "runs", "Show runs further left", SPEC, 3),
    Action("shift_runs(1)", "right", "runs", "Show runs further right", SPEC, 3),
    Action("differences", "d", "differences", "Show only what differs, or everything", SPEC, 2),
    Action("chart(1)", "right", "chart", "The next chart", MACHINE, 2),
    Action("chart(-1)", "left", "chart", "The previous chart", MACHINE),
    Action("maximize_chart", "z,enter", "maximize", "Maximize chart, or show all charts", MACHINE, 2),
    Action("axis", "X", "axis", "Draw over steps, training loss, epochs, samples, share of run, or time", MACHINE),
    Action("zoom(1)", "plus,equals_sign", "zoom", "Zoom around the crosshair, as the mouse wheel does", CHARTS),
    Action("zoom(-1)", "minus", "zoom", "Zoom around the crosshair, as the mouse wheel does", CHARTS),
    Action("pan(-1, 0)", "left", "pan", "When zoomed in: pan", CHARTS),
    Action("pan(1, 0)", "right", "pan", "When zoomed in: pan", CHARTS),
    Action("pan(0, 1)", "up", "pan", "When zoomed in: pan", CURVES),
    Action("pan(0, -1)", "down", "pan", "When zoomed in: pan", CURVES),
    Action("fit", "0", "fit", "Reset zoom", CHARTS),
    Action("crosshair", "c", "crosshair", "Crosshair: read every curve at one step", CHARTS),
    Action("read(-1)", "shift+left,less_than_sign", "read", "Move the crosshair", CHARTS),
    Action("read(1)", "shift+right,greater_than_sign", "read", "Move the crosshair", CHARTS),
    Action("smooth", "s", "smooth", "Smoothing: none, 0.6, 0.9, 0.97, 0.99; the raw curve stays, faint", CURVES),
    Action("log", "y", "log axis", "Logarithmic or linear axis", CURVES),
    Action("clip", "o", "clip outliers", "Clip outliers; △ and ▽ mark where curves go beyond the axis", CURVES),
    Action("move(1)", "down,j", "row", "The next or the previous row", LISTS),
    Action("move(-1)", "up,k", "row", "The next or the previous row", LISTS),
    Action("move_page(1)", "pagedown", "page", "One page down or up", LISTS),
    Action("move_page(-1)", "pageup", "page", "One page down or up", LISTS),
    Action("move(-1000000000)", "home,g", "ends", "The first or the last row", LISTS),
    Action("move(1000000000)", "end,G", "ends", "The first or the last row", LISTS),
    Action("choose", "enter", "choose", "Open or choose the row", LISTS),
    Action("command_palette", "ctrl+p", "palette", "Search everything that can be done here", ALWAYS, 5),
    Action("focus_next", "tab", "focus", "The next or the previous chart or list", ALWAYS),
    Action("focus_previous", "shift+tab", "focus", "The next or the previous chart or list", ALWAYS),
    Action("quit", "ctrl+q", "quit", "Quit without asking; runs continue", ALWAYS, 4),
    Action("leave", "escape,ctrl+c", "leave", "Close the window", WINDOWS),
    Action("leave", "q,question_mark,f1,enter", "leave", "Close the help", HELP),
    Action("choose", "tab", "show", "Show or hide the chart", PICKER),
    Action("move(1)", "down", "row", "The next or the previous chart; letters find one", PICKER),
    Action("move(-1)", "up", "row", "The next or the previous chart; letters find one", PICKER),
    Action("move_page(1)", "pagedown", "page", "One page down or up", PICKER),
    Action("move_page(-1)", "pageup", "page", "One page down or up", PICKER),
    Action("shift(-1)", "shift+up", "reorder", "Move the chart up or down", PICKER),
    Action("shift(1)", "shift+down", "reorder", "Move the chart up or down", PICKER),
    Action("delete", "delete", "delete", "Delete the layout", LAYOUTS),
    Action("answer('detach')", "d,q", "detach", "Quit; the runs continue", QUIT),
    Action("answer('stop')", "s", "stop", "Quit, and stop the runs", QUIT),
    Action("leave", "c,n", "cancel", "Stay", QUIT),
    Action("option(-1)", "up", "option", "The previous or the next suggestion", REQUESTS),
    Action("option(1)", "down", "option", "The previous or the next suggestion", REQUESTS),
    Action("targets", "tab", "targets", "Which runs the request goes to", REQUESTS),
    Action("leave", "escape", "cancel", "Send nothing", REQUESTS),
    Action("clear", "escape", "clear", "Show everything again", FILTERS, 2),
    Action("keep", "enter,down", "keep", "Go to the rows that are shown", FILTERS, 1),
    Action("complete", "tab", "complete", "Complete the word", QUERIES, 1),
)  # fmt: skip


def bindings(*scopes: str) -> list[BindingType]:
    """Bindings of the actions in these scopes."""
    return [
        Binding(action.keys, action.name, action.label, show=False, system=True, id=action.id)
        for action in ACTIONS
        if action.scope in scopes and action.keys
    ]


def actions_of(scopes: tuple[str, ...], table: Iterable[Action] = ACTIONS) -> list[Action]:
    """Actions in these scopes, in the order of the scopes."""
    table = tuple(table)
    return [action for scope in scopes for action in table if action.scope == scope]


def rebound(keys: Mapping[str, str]) -> tuple[Action, ...]:
    """The table of actions with other keys, by action id."""
    return tuple(replace(action, keys=keys.get(action.id, action.keys)) for action in ACTIONS)


def page_keys(table: Iterable[Action] = ACTIONS) -> dict[str, str]:
    """Display name of the key of each page about runs, in order."""
    return {action.label: action.key for action in table if action.name.startswith("view(")}
