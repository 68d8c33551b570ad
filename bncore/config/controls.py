"""What a person may change in somebody's own training loop while it trains: declared there, checked everywhere."""

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
"""Characters of a value that is text."""
ANY_LP = "lp:<p>"
"""The choice that stands for every l_p norm."""
SWITCHES = {"on": True, "true": True, "off": False, "false": False}


class Control(ConfigModel):
    """One hyperparameter, as it stands in ``controls.json``."""

    name: ControlName
    """What it is set by."""
    kind: Kind
    """What its values are."""
    value: Value
    """What holds now."""
    minimum: float | None = None
    """The least value."""
    maximum: float | None = None
    """The greatest value."""
    choices: tuple[Value, ...] = ()
    """The only values, where there are any; `ANY_LP` among them stands for every ``lp:<p>``."""

    @property
    def accepted(self) -> str:
        """What it can be set to, in words."""
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
        """Whether it can be set to `value`, already of its kind."""
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
        """`value` as one of its kind, where a number of another spelling stands for one: 1 is a float."""
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        return float(value) if self.kind == "float" and is_whole else value  # type: ignore[arg-type]  # a number

    def parsed(self, text: str) -> object:
        """What a person typed, as a value of its kind; the text itself where it is none."""
        try:
            if self.kind == "bool":
                return SWITCHES[text.lower()]
            return {"float": float, "int": int, "str": str}[self.kind](text)
        except (ValueError, KeyError, OverflowError):
            return text


def kind_of(value: object) -> Kind | None:
    """The kind that a value is of; None where no control has such values."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    return "float" if isinstance(value, float) else "str" if isinstance(value, str) else None


def check_changes(changes: Mapping[str, object], controls: Sequence[Control], place: str) -> dict[str, Value]:
    """New values by name, each of its control's kind.

    Raises:
        SpecError: every one that is not accepted: the control, the value, what would be.
    """
    by_name = {control.name: control for control in controls}
    found: dict[str, Value] = {}
    problems = []
    for name, given in changes.items():
        control = by_name.get(name)
        value = given if control is None else control.converted(given)
        if control is None:
            problems.append(_unknown(place, name, given, tuple(by_name)))
        elif not control.accepts(value):
            problems.append(Problem(place, name, given, control.accepted))
        else:
            found[name] = value  # type: ignore[assignment]  # of one of the kinds: it is accepted
    if problems:
        raise SpecError(problems)
    return found


def parse_controls(texts: Iterable[str], controls: Sequence[Control], place: str = "set") -> dict[str, Value]:
    """Parse what a person types, such as ``lr=0.05``.

    Raises:
        SpecError: every problem: no ``=``, no such control, a value that it does not accept.
    """
    by_name = {control.name: control for control in controls}
    typed: dict[str, object] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals):
            raise SpecError([Problem(place, text, accepted="name=value, such as lr=0.05")])
        typed[name] = by_name[name].parsed(value) if name in by_name else value
    return check_changes(typed, controls, place)


def show_value(value: object) -> str:
    """A value as a person types it; escaped."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return escape_control(f"{value:.10g}" if isinstance(value, float) else str(value))


def _unknown(place: str, name: str, value: object, names: tuple[str, ...]) -> Problem:
    if not names:
        return Problem(place, name, value, message="the loop has declared no controls")
    accepted = f"one of {', '.join(names)}{did_you_mean(name, names)}"
    return Problem(place, name, value, accepted, "no such control")
