"""``a.b=value``, as typed on the command line or sent to a live run: a path and a value of the field's type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bncore.config.errors import Problem, SpecError, did_you_mean
from bncore.config.fields import Path, accepted_at, dotted, leaves, owners_of, tables_at
from bncore.config.parse import parse_toml

ALIASES: dict[str, str] = {
    "data": "data.source",
    "net": "net.kind",
    "width": "net.width",
    "norm": "norm.kind",
    "noise": "noise.on",
    "init": "init.scheme",
    "loss": "loss.kind",
    "optim": "optim.kind",
    "lr": "optim.lr",
    "weight_decay": "optim.weight_decay",
    "schedule": "optim.schedule.kind",
    "optim.schedule": "optim.schedule.kind",
}
"""The short spellings that a user may type before the ``=``; any other name must be a full path."""

SYNONYMS: dict[str, str] = {
    "batch": "batch_size",
    "batchsize": "batch_size",
    "bs": "batch_size",
    "criterion": "loss",
    "dataset": "data",
    "initialization": "init",
    "iterations": "steps",
    "learning_rate": "lr",
    "lr_scheduler": "schedule",
    "max_steps": "steps",
    "model": "net",
    "network": "net",
    "normalization": "norm",
    "num_steps": "steps",
    "optimiser": "optim",
    "optimizer": "optim",
    "scheduler": "schedule",
    "wd": "weight_decay",
}
"""Other common names of fields and tables, used for suggestions but never accepted."""
MISTYPED = 0.85
"""Similarity (`difflib`) from which a word counts as one of them."""

_SWITCHES = {"on": True, "off": False}


@dataclass(frozen=True)
class Override:
    """One parsed setting."""

    path: Path
    """Path of the field."""
    value: Any
    """The value, as read from TOML."""


def parse_override(text: str, file: str = "--set") -> tuple[Override, ...]:
    """Parse ``a.b=value``: the value is a TOML literal if the field accepts it, else text, else a list.

    ``on`` and ``off`` are booleans, ``0,1,2`` is a list if the field is one, and ``probes=none`` sets the cadence
    of every probe to 0 (which is why several overrides can be returned).

    Arguments:
        text: the setting.
        file: source of the setting, named in problems.

    Raises:
        SpecError: a missing ``=``, an unknown field, or a value that the field does not accept.
    """
    name, equals, value = text.partition("=")
    name, value = name.strip(), value.strip()
    if not equals or not name:
        raise SpecError([Problem(file, text, accepted="path=value, such as optim.lr=0.1")])
    path = tuple(ALIASES.get(name, name).split("."))
    if path == ("probes",):
        if value != "none":
            accepted_values = "'none', or a field such as probes.<name>.every"
            raise SpecError([Problem(file, "probes", value, accepted_values)])
        return tuple(Override(leaf, 0) for leaf in leaves() if leaf[0] == "probes" and leaf[-1] == "every")
    if not owners_of(path):
        raise SpecError([Problem(file, name, value, message="no such field" + suggestion(name))])
    if tables_at(path):
        keys = ", ".join(f"{name}.{key}" for model in tables_at(path) for key in model.model_fields)
        raise SpecError([Problem(file, name, value, keys, "a table, not a value")])
    for candidate in _readings(value):
        if accepts(path, candidate):
            return (Override(path, candidate),)
    raise SpecError([Problem(file, dotted(path), value, accepted(path, next(_toml(value), value)))])


def accepts(path: Path, value: Any) -> bool:
    """Whether the field at `path` accepts `value` by itself; whether it fits the rest is checked by `Spec`."""
    return not all(_errors(model, path[-1], value) for model in owners_of(path))


def accepted(path: Path, value: Any) -> str:
    """Description of what the field accepts: its validator's own text if it has one, else its type and bounds."""
    for error in _errors(owners_of(path)[0], path[-1], value):
        if error["type"] == "value_error":
            return str(error["ctx"]["error"]).removeprefix("expected ")
    return accepted_at(path, value=value)


def nested(path: Path, value: Any) -> dict[str, Any]:
    """``("optim", "lr"), 0.1`` as ``{"optim": {"lr": 0.1}}``."""
    for key in reversed(path):
        value = {key: value}
    return dict(value)


def leaf_paths(table: Mapping[str, Any]) -> Iterator[Path]:
    """The path of every value in nested tables."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from ((key, *path) for path in leaf_paths(value))
        else:
            yield (key,)


def _readings(text: str) -> Iterator[Any]:
    """All possible readings of `text`, the likeliest first."""
    yield from _toml(text)
    if text in _SWITCHES:
        yield _SWITCHES[text]
    yield text
    yield from _toml(f"[{text}]")
    yield [item.strip() for item in text.split(",")]


def _toml(literal: str) -> Iterator[Any]:
    if "\n" in literal:  # a second line would be a second key
        return
    try:
        yield parse_toml(f"value = {literal}")["value"]
    except ValueError:  # not TOML, more than 4300 digits, or too many nested brackets
        return


def _errors(model: type[BaseModel], key: str, value: Any) -> list[ErrorDetails]:
    """What is wrong with `value` for a field, whatever the others are."""
    try:
        model.model_validate({key: value})
    except ValidationError as error:
        return [detail for detail in error.errors() if detail["loc"][:1] == (key,)]
    return []


def suggestion(name: str, more: Sequence[str] = ()) -> str:
    """`` (did you mean 'x'?)`` for the setting, or one of `more`, that `name` may stand for; else empty."""
    names = [*(dotted(leaf) for leaf in leaves()), *more]
    for wanted in dict.fromkeys((name, in_our_words(name))):
        if wanted in ALIASES or (wanted != name and wanted in names):
            return f" (did you mean {ALIASES.get(wanted, wanted)!r}?)"
        same = [path for path in names if path.endswith("." + wanted)]
        if same:
            return f" (did you mean {' or '.join(map(repr, same))}?)"
    return did_you_mean(name, [*names, *ALIASES])


def in_our_words(name: str) -> str:
    """A dotted path with every part that is in `SYNONYMS`, perhaps mistyped, replaced; the resulting field need
    not exist."""
    parts = (part.strip().lower().replace("-", "_") for part in name.split("."))
    near = ((part, get_close_matches(part, SYNONYMS, n=1, cutoff=MISTYPED)) for part in parts)
    return ".".join(SYNONYMS[words[0]] if words else part for part, words in near)
