"""Hyperparameters that an external training loop allows to be changed, read and set by functions of that loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from bncore.config.controls import Control, Value, check_changes, kind_of, show_value
from bncore.config.errors import SpecError
from bncore.external.checks import ObserveError
from bncore.train.handlers import Answer, RequestRefused

Get = Callable[[], Any]
Set = Callable[[Any], object]


@dataclass(frozen=True)
class _Knob:
    declared: Control
    get: Get
    set: Set

    def now(self) -> Control:
        """The control with its current value, or with the declared value if that cannot be read."""
        try:
            return self.declared.model_copy(update={"value": self.value()})
        except Exception:  # from the user's function: showing the panel must not end the loop
            return self.declared

    def value(self) -> Value:
        """The result of `get`, as a value of the control's kind.

        Raises:
            TypeError: it is of another kind, or not finite.
        """
        value = self.declared.converted(_plain(self.get()))
        if kind_of(value) != self.declared.kind or (isinstance(value, float) and not math.isfinite(value)):
            raise TypeError(f"get gave {value!r}; expected a value of type {self.declared.kind}")
        return value  # type: ignore[return-value]  # checked by kind_of


class ControlPanel:
    """All controls of one loop."""

    def __init__(self) -> None:
        self._knobs: dict[str, _Knob] = {}

    def declare(self, name: str, get: Get, set: Set, **limits: Any) -> None:
        """Add a control; limits as for `Control`.

        Raises:
            ObserveError: the name is taken or invalid, or `get` returns a value that the control does not accept.
        """
        if name in self._knobs:
            raise ObserveError(f"control: {name!r} is declared already; expected another name")
        value: Any = _plain(get())
        kind = kind_of(value)
        if kind is None:
            raise ObserveError(f"control {name}: get gave {value!r}; expected a float, int, bool or str")
        if kind == "int" and any(isinstance(one, float) for one in limits.values()):
            kind, value = "float", float(value)
        try:
            declared = Control(name=name, kind=kind, value=value, **limits)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ObserveError(f"control {name!r}: {where}: {first['input']!r}: {first['msg']}") from error
        if not declared.accepts(value):
            raise ObserveError(f"control {name}: {value!r} now; expected {declared.accepted}")
        self._knobs[name] = _Knob(declared, get, set)

    def state(self) -> tuple[Control, ...]:
        """All controls with their current values."""
        return tuple(knob.now() for knob in self._knobs.values())

    def change(self, changes: dict[str, Any]) -> Answer:
        """Make all changes or none.

        Raises:
            RequestRefused: a value is not accepted, or a setter raised or had no effect.
        """
        try:
            wanted = check_changes(changes, self.state(), "request")
        except SpecError as error:
            raise RequestRefused(
                "; ".join(str(p).removeprefix("request: ") for p in error.problems)
            ) from error
        old = {name: self._knobs[name].value() for name in wanted}
        tried = []
        try:
            new = {}
            for name, value in wanted.items():
                tried.append(name)
                new[name] = self._set(name, value)
        except Exception as error:
            failed = f"{tried[-1]} = {show_value(wanted[tried[-1]])}: {type(error).__name__}: {error}"
            raise RequestRefused(
                "; ".join([failed, *self.set_back({name: old[name] for name in tried})])
            ) from error
        return Answer(old, new)

    def _set(self, name: str, value: Value) -> Value:
        """Set a control; return its value afterwards.

        Raises:
            Exception: whatever the setter or `get` raises; ValueError if the setter had no effect.
        """
        knob = self._knobs[name]
        before = knob.value()
        knob.set(value)
        after = knob.value()
        if after == before != value:
            raise ValueError(f"still {show_value(after)} after it was set")
        return after

    def set_back(self, old: Mapping[str, Value]) -> list[str]:
        """Restore the old values, newest change first; return a message for each that could not be restored."""
        problems = []
        for name, value in reversed([*old.items()]):
            try:
                if self._knobs[name].value() != value:
                    self._knobs[name].set(value)
                now: object = self._knobs[name].value()
            except Exception as error:
                problems.append(f"{name} could not be set back to {show_value(value)}: {error}")
                continue
            if now != value:
                problems.append(
                    f"{name} could not be set back to {show_value(value)}: it is {show_value(now)}"
                )
        return problems


def _plain(value: object) -> object:
    """The Python number in a tensor or numpy scalar; any other value unchanged."""
    item = getattr(value, "item", None)
    return item() if callable(item) else value
