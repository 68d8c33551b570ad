"""Hyperparameters of an external training loop that can be changed during training.

The loop declares them, and every request is checked against the declaration.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from bncore.config.base import ConfigModel, lp_exponent
from bncore.config.errors import Problem, SpecError, did_you_mean, escape_control

Value = bool | int | float | str
Kind = Literal["float", "int", "bool", "str"]
ControlName = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.\-]*$", max_length=64)]
LONGEST = 1024
"""Maximum number of characters of a text value."""
ANY_LP = "lp:<p>"
"""The choice that stands for all l_p norms."""
SWITCHES = {"on": True, "true": True, "off": False, "false": False}


class Control(ConfigModel):
    """One hyperparameter, as stored in ``controls.json``."""

    name: ControlName
    """Name by which it is set."""
    kind: Kind
    """Type of its values."""
    value: Value
    """Current value."""
    minimum: float | None = None
    """Smallest accepted value."""
    maximum: float | None = None
    """Largest accepted value."""
    choices: tuple[Value, ...] = ()
    """The only accepted values, if any are listed; `ANY_LP` among them stands for every ``lp:<p>``."""

    @property
    def accepted(self) -> str:
        """Description of the accepted values."""
        if self.kind == "bool":
            return "on or off"
        if self.choices:
            return f"one of {', '.join(map(show_value, self.choices))}"
        if self.kind == "str":
            return f"text of at most {LONGEST} characters"
        number = "a number" if self.kind == "float" else "a whole number"
        match self.minimum, self.maximum:
            case None, None:
                return number
            case least, None:
                return f"{number} >= {least:g}"
            case None, most:
                return f"{number} <= {most:g}"
        return f"{number} from {self.minimum:g} to {self.maximum:g}"

    def accepts(self, value: object) -> bool:
        """Whether it can be set to `value`, which must already have the right type."""
        if kind_of(value) != self.kind or (isinstance(value, float) and not math.isfinite(value)):
            return False
        if isinstance(value, str) and len(value) > LONGEST:
            return False
        if self.choices and value not in self.choices:
            return ANY_LP in self.choices and lp_exponent(str(value)) is not None
        if isinstance(value, bool | str):
            return True
        assert isinstance(value, int | float)
        return (self.minimum is None or value >= self.minimum) and (
            self.maximum is None or value <= self.maximum
        )

    def converted(self, value: object) -> object:
        """`value` converted to the control's type where a number allows it: 1 is also a float."""
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        return float(value) if self.kind == "float" and is_whole else value  # type: ignore[arg-type]  # a number

    def parsed(self, text: str) -> object:
        """Text typed by the user, parsed as a value of the control's type, or unchanged if that fails."""
        try:
            if self.kind == "bool":
                return SWITCHES[text.lower()]
            return {"float": float, "int": int, "str": str}[self.kind](text)
        except (ValueError, KeyError, OverflowError):
            return text


def kind_of(value: object) -> Kind | None:
    """The kind of a value; None if no control can have such a value."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    return "float" if isinstance(value, float) else "str" if isinstance(value, str) else None


def check_changes(
    changes: Mapping[str, object], controls: Sequence[Control], source: str
) -> dict[str, Value]:
    """The new values by name, each converted to its control's type.

    Raises:
        SpecError: all values that are not accepted, with the control, the value and the accepted values.
    """
    by_name = {control.name: control for control in controls}
    values: dict[str, Value] = {}
    problems = []
    for name, given in changes.items():
        control = by_name.get(name)
        value = given if control is None else control.converted(given)
        if control is None:
            problems.append(_unknown(source, name, given, tuple(by_name)))
        elif not control.accepts(value):
            problems.append(Problem(source, name, given, control.accepted))
        else:
            values[name] = value  # type: ignore[assignment]  # of one of the kinds: it is accepted
    if problems:
        raise SpecError(problems)
    return values


def parse_controls(
    texts: Iterable[str], controls: Sequence[Control], source: str = "set"
) -> dict[str, Value]:
    """Parse changes as typed by the user, such as ``lr=0.05``.

    Raises:
        SpecError: all problems: a missing ``=``, unknown controls, values that a control does not accept.
    """
    by_name = {control.name: control for control in controls}
    typed: dict[str, object] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals):
            raise SpecError([Problem(source, text, accepted="name=value, such as lr=0.05")])
        typed[name] = by_name[name].parsed(value) if name in by_name else value
    return check_changes(typed, controls, source)


def show_value(value: object) -> str:
    """A value as the user would type it, with control characters escaped."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return escape_control(f"{value:.10g}" if isinstance(value, float) else str(value))


def _unknown(source: str, name: str, value: object, names: tuple[str, ...]) -> Problem:
    if not names:
        return Problem(source, name, value, message="the loop has declared no controls")
    accepted = f"one of {', '.join(names)}{did_you_mean(name, names)}"
    return Problem(source, name, value, accepted, "no such control")
