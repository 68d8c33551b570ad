"""The controls of observed loops, as a person chooses among them and sets them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bncore.config.controls import ANY_LP, Control, parse_controls, show_value
from bncore.follow.run_view import RunView
from bncore.store.commands import Command, SetControls
from bntui.steering.verbs import Typed, Verb, named_settings

FACTORS = (0.5, 0.1, 2, 10)


def request(verb: Verb, typed: Typed, view: RunView) -> Command:
    """The request that a text means for a run: of an observed loop a setting is one of its controls.

    Raises:
        SpecError: what is wrong with the text.
        ValidationError: the same.
    """
    assert verb.command is not None
    if view.controls is None or verb.sets is None:
        return verb.command(typed)
    words, at = typed
    known = _about(verb.sets, view.controls)
    name = known[0].name if verb.sets and known else verb.sets
    return SetControls(changes=parse_controls(named_settings(name, words), view.controls), at_step=at)


def control_options(sets: str, controls: Sequence[Control]) -> tuple[str, ...]:
    """Texts to choose among: new values of the controls that a verb is about; what holds of all of them where it
    is about none."""
    known = _about(sets, controls)
    if not known:
        return tuple(f"{control.name}={show_value(control.value)}" for control in controls)
    return tuple(f"{control.name}={show_value(value)}" for control in known for value in _others(control))


def limits(command: Command, controls: Sequence[Control]) -> str:
    """What holds of the controls that a request sets, and what they accept."""
    if not isinstance(command, SetControls):
        return ""
    found = (control for control in controls if control.name in command.changes)
    return "; ".join(f"{one.name} now {show_value(one.value)} ({one.accepted})" for one in found)


def _about(sets: str, controls: Sequence[Control]) -> list[Control]:
    """The controls that are called as a setting of our own, or are parts of it: `lr`, `lr.0`."""
    return [control for control in controls if sets and control.name.partition(".")[0] == sets]


def _others(control: Control) -> Iterator[object]:
    """Values near the one that holds."""
    if isinstance(control.value, bool):
        yield not control.value
    elif control.choices:
        yield from (one for one in control.choices if one not in (control.value, ANY_LP))
    elif isinstance(control.value, str) or not control.value:
        yield control.value
    else:
        whole = isinstance(control.value, int)
        near = (control.value * factor for factor in FACTORS)
        values = dict.fromkeys(round(value) if whole else float(f"{value:.6g}") for value in near)
        yield from (value for value in values if control.accepts(value) and value != control.value)
