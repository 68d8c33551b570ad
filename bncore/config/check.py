"""Layers of tables, merged and validated against a model; each problem names the layer that caused it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bncore.config.errors import NOTHING, Problem, SpecError, did_you_mean
from bncore.config.fields import Path, accepted_at, dotted, leaves, owners_of, tables_at
from bncore.config.model import CHOICES, Spec
from bncore.config.overrides import ALIASES, in_our_words

Table = dict[str, Any]
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class ConfigLayer:
    """Settings from one source."""

    file: str
    """The file or command-line option."""
    prefix: str
    """Dotted path of `table` in that file; empty if the table is the whole file."""
    table: Mapping[str, Any]
    """Nested settings."""


def lay(layers: Iterable[ConfigLayer]) -> tuple[Table, dict[Path, ConfigLayer]]:
    """Merge tables; later layers override earlier ones.

    A layer that selects another shape (``net.kind = "dln"`` over a VGG) drops that table's keys from earlier
    layers, since they were meant for the other shape. Its own keys stay, and are refused if they do not belong to
    the shape.

    Returns:
        the resulting table, and for each path in it the layer that wrote it last.
    """
    result: Table = {}
    origins: dict[Path, ConfigLayer] = {}
    for layer in layers:
        for name, choice in CHOICES.items():
            if choice.states_other_shape(layer.table.get(name), result.get(name, {})):
                result.pop(name, None)
        _lay_table(result, layer.table, (), layer, origins)
    return result, origins


def _lay_table(
    target: Table, table: Mapping[str, Any], path: Path, layer: ConfigLayer, origins: dict[Path, ConfigLayer]
) -> None:
    for key, value in table.items():
        origins[(*path, key)] = layer
        if isinstance(value, Mapping):
            if not isinstance(target.get(key), dict):
                target[key] = {}
            _lay_table(target[key], value, (*path, key), layer, origins)
        else:
            target[key] = deepcopy(value)


def check_spec(layers: Sequence[ConfigLayer], blame: ConfigLayer) -> tuple[Spec | None, list[Problem]]:
    """The `Spec` of the merged `layers`, or None, and all problems.

    A problem names the layer that wrote the field last, or `blame` if none did.
    """
    table, origins = lay(layers)

    def layer_of(path: Path) -> ConfigLayer:
        above = (path[:length] for length in range(len(path), 0, -1))
        return next((origins[part] for part in above if part in origins), blame)

    return check(Spec, table, layer_of)


def check(
    model: type[Model], table: Mapping[str, Any], layer_of: Callable[[Path], ConfigLayer]
) -> tuple[Model | None, list[Problem]]:
    """Validate `table`; `layer_of` returns the layer that a path came from."""
    try:
        return model.model_validate(table), []
    except ValidationError as error:
        details = error.errors(include_url=False)
    problems: dict[str, Problem] = {}
    for detail in details:
        for path, problem in _problems(model, detail, table, layer_of):
            problems.setdefault(path, problem)  # one per field, because a union reports each of its branches
    # A list with an invalid item is also reported as too short; reporting the item is enough.
    return None, [p for name, p in problems.items() if not any(n.startswith(f"{name}[") for n in problems)]


def checked(model: type[Model], layer: ConfigLayer) -> Model:
    """The table of one layer as a model.

    Raises:
        SpecError: all problems.
    """
    result, problems = check(model, layer.table, lambda _: layer)
    if result is None:
        raise SpecError(problems)
    return result


def _problems(
    model: type[BaseModel],
    detail: ErrorDetails,
    table: Mapping[str, Any],
    layer_of: Callable[[Path], ConfigLayer],
) -> Iterable[tuple[str, Problem]]:
    """The problems behind one pydantic error, each with the field concerned."""
    path, written = _field_path(model, detail)
    kind, value = detail["type"], detail["input"]
    if kind == "conflicts":
        for name, refused, accepted in detail["ctx"]["found"]:
            layer = layer_of(tuple(name.split(".")))
            yield name, Problem(layer.file, _in_file(layer, name), refused, accepted)
        return
    accepted, message = "", ""
    if kind == "extra_forbidden":
        accepted, message = _known_keys(model, path, table), "unknown key"
    elif kind.startswith("union_tag") and isinstance(value, Mapping):
        choice = CHOICES[path[-1]]
        path, written = (*path, choice.tag), f"{written}.{choice.tag}"
        value = value_at(value, (choice.tag,))
        accepted = "one of " + ", ".join(map(repr, choice.values))
    elif kind == "value_error":
        accepted = str(detail["ctx"]["error"]).removeprefix("expected ")
    elif kind == "missing":
        accepted, message, value = accepted_at(path, model), "missing", NOTHING
    elif detail["loc"][-1] == "[key]":
        accepted, message, value = str(detail["ctx"]["expected"]), "unknown key", NOTHING
    else:
        accepted = accepted_at(path, model, value)
        if dotted(path) in ALIASES and not isinstance(value, Mapping):  # ``norm = "l1"`` in a file
            accepted += f" (did you mean {ALIASES[dotted(path)]}?)"
    yield written, Problem(layer_of(path).file, _in_file(layer_of(path), written), value, accepted, message)


def _in_file(layer: ConfigLayer, name: str) -> str:
    return ".".join(part for part in (layer.prefix, name) if part)


def _field_path(model: type[BaseModel], detail: ErrorDetails) -> tuple[Path, str]:
    """Location of an error: the path of the field, and the path as a user would write it (such as with list
    indices).

    Names of union branches, which pydantic inserts, are omitted from both.
    """
    path: Path = ()
    written = ""
    parts = detail["loc"]
    for index, part in enumerate(parts):
        if isinstance(part, int):
            written += f"[{part}]"
        elif owners_of((*path, part), model) or (detail["type"] == "extra_forbidden" and part is parts[-1]):
            path = (*path, part)
            written += f".{part}"
        elif index and parts[index - 1] == "profiles":
            written += f".{part}"
    return path, written.removeprefix(".")


def value_at(table: object, path: Path) -> object:
    """The value at `path` in nested tables, or None."""
    for key in path:
        table = table.get(key) if isinstance(table, Mapping) else None
    return table


def _known_keys(model: type[BaseModel], path: Path, table: Mapping[str, Any]) -> str:
    """The keys of the table that `path` points into, with a suggestion for the unknown one."""
    key, above = path[-1], path[:-1]
    shapes = tables_at(above, model)
    if model is Spec and len(above) == 1 and above[0] in CHOICES:
        shape = CHOICES[above[0]].shape_of(value_at(table, above) or {})
        shapes = tuple(s for s in shapes if s.__name__ == shape)
    keys = [name for shape in shapes for name in shape.model_fields]
    ours = in_our_words(key)
    did_you = f" (did you mean '{ours}'?)" if ours in keys else did_you_mean(key, keys)
    hint = did_you or _elsewhere(model, path)
    return "one of " + ", ".join(keys) + hint if keys else "no keys" + hint


def _elsewhere(model: type[BaseModel], path: Path) -> str:
    """A hint to the same key elsewhere: in another shape of the same table, or in another table."""
    if model is Spec and len(path) == 2 and path[0] in CHOICES and owners_of(path):
        choice = CHOICES[path[0]]
        owner = next(shape for shape in choice.shapes if path[1] in shape.model_fields)
        return f" ('{path[1]}' belongs to {path[0]}.{choice.tag} '{owner.model_fields[choice.tag].default}')"
    same = [dotted(leaf) for leaf in leaves(model) if leaf[-1] in (path[-1], in_our_words(path[-1]))]
    return did_you_mean((same or [dotted(path)])[0], list(map(dotted, leaves(model))))
