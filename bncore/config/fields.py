"""Fields by dotted path, and descriptions of the values they accept, derived from the models."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from bncore.config.model import Spec
from bncore.config.probes import Cadence

Path = tuple[str, ...]


def tables_at(path: Path, root: type[BaseModel] = Spec) -> tuple[type[BaseModel], ...]:
    """The models that the table at `path` may have, one per shape; empty if there is no table at `path`."""
    models: tuple[type[BaseModel], ...] = (root,)
    for key in path:
        models_of_key = (_models(m.model_fields[key].annotation) for m in models if key in m.model_fields)
        models = tuple(dict.fromkeys(model for group in models_of_key for model in group))
    return models


def owners_of(path: Path, root: type[BaseModel] = Spec) -> tuple[type[BaseModel], ...]:
    """The models that have the field at the end of `path`; empty if the path is unknown."""
    return tuple(m for m in tables_at(path[:-1], root) if path and path[-1] in m.model_fields)


@cache
def leaves(root: type[BaseModel] = Spec) -> tuple[Path, ...]:
    """All paths that end in a value rather than a table, in the order of the models."""

    def walk(model: type[BaseModel], path: Path) -> Iterator[Path]:
        for key, field in model.model_fields.items():
            tables = _models(field.annotation)
            for table in tables:
                yield from walk(table, (*path, key))
            if not tables:
                yield (*path, key)

    return tuple(dict.fromkeys(walk(root, ())))


def accepted_at(path: Path, root: type[BaseModel] = Spec, value: object = None) -> str:
    """Description of the values that the field at `path` accepts; `value` is a refused one."""
    if any(issubclass(table, Cadence) for table in tables_at(path, root)):
        return "a table such as { every = 10 }"
    words = [_in_words(_schema(model)["properties"][path[-1]], value) for model in owners_of(path, root)]
    beyond = isinstance(value, int) and abs(value) >= 2**63
    return " or ".join(dict.fromkeys(words)) + (" of 64 bits" if beyond else "")


@cache
def types_at(path: Path, root: type[BaseModel] = Spec) -> tuple[object, ...]:
    """The plain types and literal words that the field at `path` accepts; for a list, those of its items."""
    models = owners_of(path, root)
    kinds = (kind for model in models for kind in _plain_types(model.model_fields[path[-1]].annotation))
    return tuple(dict.fromkeys(kinds))


def _plain_types(annotation: Any) -> Iterator[object]:
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    elif get_args(annotation):
        for argument in get_args(annotation):
            yield from _plain_types(argument)
    elif annotation in (bool, int, float, str):
        yield annotation


def dotted(path: Path) -> str:
    """``("optim", "lr")`` as ``optim.lr``."""
    return ".".join(path)


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _models(annotation: Any) -> tuple[type[BaseModel], ...]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (annotation,)
    return tuple(model for argument in get_args(annotation) for model in _models(argument))


_PLAIN = {"boolean": "true or false", "string": "text", "object": "a table", "null": "nothing"}
_BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


def _in_words(schema: dict[str, Any], value: object = None) -> str:
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return ("one of " if len(values) > 1 else "") + ", ".join(map(repr, values))
    if "anyOf" in schema:
        return " or ".join(_in_words(part, value) for part in schema["anyOf"] if part.get("type") != "null")
    if schema.get("type") == "array":
        if "prefixItems" in schema:
            return "a list of " + " and ".join(_in_words(item) for item in schema["prefixItems"])
        return f"a list, each {_in_words(schema.get('items', {}))}"
    if schema.get("type") in ("integer", "number"):
        return _number_in_words(schema, value)
    return _PLAIN.get(str(schema.get("type", "object")), "a value")


def _number_in_words(schema: dict[str, Any], value: object) -> str:
    """Type and bounds; bounds that only keep numbers finite are named only if the value exceeds them."""
    kind = "an integer" if schema["type"] == "integer" else "a number"
    bounds = [(sign, schema[key]) for key, sign in _BOUNDS.items() if key in schema]
    beyond = isinstance(value, float) and schema["type"] == "number"
    written = [
        f"{sign} {bound:g}"
        for sign, bound in bounds
        if abs(bound) < 2**62 or (beyond and not abs(value) <= bound)  # type: ignore[arg-type]  # a float; or a NaN
    ]
    return " ".join([kind, " and ".join(written)]).strip()
