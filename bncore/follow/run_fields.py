"""The named fields of a run for selecting, listing and sorting runs: settings, state, and the newest value of
every measure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Literal

from bncore.config.errors import escape_control
from bncore.config.fields import dotted, leaves, types_at
from bncore.config.measure import Measure
from bncore.config.observed import Observed
from bncore.config.overrides import ALIASES, suggestion
from bncore.config.probes import Probes
from bncore.follow.request_view import SPELLING
from bncore.follow.run_view import RunView
from bncore.measures import LOG, MEASURES
from bncore.plain_files import exists
from bncore.store.machine_log import MACHINE
from bncore.store.measured import Best, best_of, middle_layer, rows, take
from bncore.store.paths import SweepDir, read_sweep
from bncore.store.reader import speaks_of
from bncore.store.status import LIVE, STATES

Value = float | str | bool | tuple[float | str, ...] | None
ALL_STATES = (*STATES, "dead", "unknown", "gone")


@dataclass(frozen=True)
class RunField:
    """A property of a run, accessible by name."""

    name: str
    of: Callable[[RunView], Value]
    """Returns the field's value for a run; None if the run has none."""
    types: tuple[object, ...] = (float,)
    """Accepted types (`int`, `float`, `str`, `bool`) and accepted words."""
    unit: Literal["", "s", "fraction"] = ""
    kind: Literal["run", "setting", "measure"] = "run"

    @property
    def words(self) -> tuple[str, ...]:
        """The accepted words, if the values are restricted to a few."""
        return tuple(one for one in self.types if isinstance(one, str)) + ("on", "off") * (bool in self.types)

    @property
    def numeric(self) -> bool:
        """Whether the value may be a number."""
        return float in self.types or int in self.types

    @property
    def expected(self) -> str:
        """The accepted values, in words."""
        number = {"s": "a time such as 90s, 10min or 2h", "fraction": "a number or a share such as 60%"}
        words = f"one of {', '.join(self.words)}" * bool(self.words)
        return " or ".join(filter(None, [words, number.get(self.unit, "a number") * self.numeric]))


def _experiment(view: RunView) -> str | None:
    file = view.run.sweep.sweep_file
    try:
        return _experiment_in(view.run.path.parent, file.stat().st_mtime_ns) or None
    except OSError:
        return None


@cache
def _experiment_in(sweep: Path, _changed: int) -> str:
    table = read_sweep(SweepDir(sweep)).get("experiment")
    return escape_control(str(table.get("name", ""))) if isinstance(table, dict) else ""


def _age(view: RunView) -> float | None:
    started = view.times()[0]
    return None if started is None else time.time() - started


def _tags(view: RunView) -> Value:
    tags = view.settings.tags if isinstance(view.settings, Observed) else ()
    return tuple(map(escape_control, tags)) or None


def _duration(view: RunView) -> float | None:
    started, end = view.times()
    if end is None and view.status is not None:
        end = time.time() if view.state in LIVE else view.status.t
    return None if started is None or end is None else end - started


_OF_RUNS = {
    field.name: field
    for field in (
        RunField("run", lambda view: view.run.name, (str,)),
        RunField("sweep", lambda view: view.run.sweep.name, (str,)),
        RunField("variant", lambda view: view.variant, (str,)),
        RunField("seed", lambda view: view.seed),
        RunField("state", lambda view: view.state, ALL_STATES),
        RunField("step", lambda view: view.step),
        RunField("steps", lambda view: view.steps or None),
        RunField("preset", _experiment, (str,)),
        RunField("rate", lambda view: view.rate),
        RunField("eta", lambda view: view.eta_s, unit="s"),
        RunField("age", _age, unit="s"),
        RunField("duration", _duration, unit="s"),
        RunField("tag", _tags, (str,)),
    )
}
_SAME = {"experiment": "preset", "name": "run"} | {
    k: v for k, v in ALIASES.items() if k not in MEASURES or k == "lr"
}
"""Field names by alias. `loss` is the measure and `loss.kind` the setting, whereas `lr` is the setting."""
BEST = "best_"
"""Prefix that turns the key of a measure into the name of its best value."""


@cache
def run_fields() -> dict[str, RunField]:
    """All fields by name: short names first, then measures, then settings by dotted path."""
    fields = dict(_OF_RUNS)
    settings = {dotted(path): _of_setting(path) for path in leaves()}
    fields |= {short: replace((settings | fields)[name], name=short) for short, name in _SAME.items()}
    fields |= {key: _of_measure(m) for key, m in MEASURES.items() if m.per != "length" and key not in fields}
    fields |= {field.name: field for measure in MEASURES.values() for field in _of_best(measure)}
    return fields | {name: field for name, field in settings.items() if name not in fields}


def run_field(name: str) -> RunField | None:
    """A field by name: one of `run_fields`, or ``config.NAME``, ``log.NAME`` or ``control.NAME`` of observed
    loops, where the case of NAME does not matter; None if there is no such field."""
    prefix, _, rest = name.partition(".")
    if prefix not in _OF_LOOPS or not rest:
        return run_fields().get(name)
    types: tuple[object, ...] = (float,) if prefix == LOG else (float, str, bool)
    return RunField(name, lambda view: _named(rest, _OF_LOOPS[prefix](view)), types)


_OF_LOOPS: dict[str, Callable[[RunView], Iterable[tuple[str, Value]]]] = {
    "config": lambda view: view.settings.config.items() if isinstance(view.settings, Observed) else (),
    LOG: lambda view: ((field, view.newest(LOG, field)) for field in view.columns.fields(LOG)),
    "control": lambda view: ((control.name, control.value) for control in view.controls or ()),
}
"""Names and values that an observed loop defines itself, by the prefix of their fields."""


def _named(name: str, items: Iterable[tuple[str, Value]]) -> Value:
    """The value with that name, ignoring case; escaped."""
    match = next((value for key, value in items if key.lower() == name.lower()), None)
    return escape_control(match) if isinstance(match, str) else match


def no_such_field(name: str) -> str:
    """Error message for a name that is not a field."""
    others = [field for field in run_fields() if "." not in field]
    hint = (
        suggestion(name, others) or "; expected one such as norm, lr, noise.on, seed, state or test_accuracy"
    )
    return f"no such field{hint}"


def has(view: RunView, name: str) -> bool:
    """Whether a run has values of a measure, of a probe, or of evaluations (``eval``); for a best value, whether
    all of the run was read."""
    if name.startswith(BEST):
        return view.columns.complete
    if name in MEASURES and (name in view.machine or len(rows(view.columns, MEASURES[name])[0])):
        return True
    return ("eval" if name == "eval" else f"probe:{name}") in view.columns.tables()


def is_read(view: RunView, name: str) -> bool:
    """Whether enough of a run was read to know `has` and the newest value."""
    if view.columns.complete or has(view, name):
        return True
    measure = MEASURES.get(name)
    if name.startswith(BEST) or (measure and measure.table == MACHINE) or exists(view.run.lineage_file):
        return False
    text = measure.field or measure.key if measure else name
    return not speaks_of(view.run.journal_file, f'"{text}"'.encode())


def measured_names() -> tuple[str, ...]:
    """Names that `has` accepts."""
    return tuple(dict.fromkeys((*Probes.model_fields, "eval", *MEASURES)))


def _of_setting(path: tuple[str, ...]) -> RunField:
    def value(view: RunView) -> Value:
        if view.controls is not None:
            return _named(SPELLING.get(dotted(path), dotted(path)), _OF_LOOPS["control"](view))
        try:
            result: Value = attrgetter(dotted(path))(view.spec)
        except AttributeError:  # this kind of table lacks the setting, or there is no spec
            return None
        return escape_control(result) if isinstance(result, str) else result

    return RunField(dotted(path), value, types_at(path), kind="setting")


def _of_measure(measure: Measure) -> RunField:
    def newest(view: RunView) -> Value:
        if measure.table == MACHINE:
            return view.machine.get(measure.field)
        layer = middle_layer([view.columns], measure) if measure.per_layer else None
        values = take(view.columns, measure, layer).y
        return float(values[-1]) if len(values) else None

    return RunField(measure.key, newest, unit=_unit(measure), kind="measure")


def _of_best(measure: Measure) -> Iterator[RunField]:
    """Fields for the best value and its step, if the measure has one value per step and a better direction."""
    if measure.better and not measure.per:

        def best(view: RunView) -> Best | None:
            return best_of(take(view.columns, measure), measure)

        def value(view: RunView) -> Value:
            return result.value if (result := best(view)) else None

        def step(view: RunView) -> Value:
            return result.step if (result := best(view)) else None

        yield RunField(f"{BEST}{measure.key}", value, unit=_unit(measure), kind="measure")
        yield RunField(f"{BEST}{measure.key}_step", step, kind="measure")


def _unit(measure: Measure) -> Literal["", "fraction"]:
    return "fraction" if measure.unit == "fraction" else ""


def values_of(field: RunField, views: Iterator[RunView]) -> list[str]:
    """The accepted words and the text values that occur in runs, sorted, without duplicates or numbers."""
    values = (field.of(view) for view in views)
    return sorted({*field.words, *(value for value in values if isinstance(value, str))})
