"""Experiments: overrides on the defaults of `Spec`, profiles, the axes of a sweep and seeds; with their JSON
schema for editors."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator
from pydantic.json_schema import models_json_schema

from bncore.config.base import ConfigModel, NonNegativeCount
from bncore.config.fields import dotted, owners_of
from bncore.config.measure import Band
from bncore.config.model import Spec
from bncore.config.overrides import leaf_paths, nested

ProfileName = Literal["paper", "cpu"]
PROFILES: tuple[ProfileName, ...] = get_args(ProfileName)
Overrides = dict[str, Any]
"""Nested settings as in TOML tables, validated when they are merged into a `Spec`."""


def _label(value: object) -> object:
    """Check a name that becomes part of a directory name."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,39}", value):
        return value
    raise ValueError("expected 1 to 40 letters, digits and . _ + -, the first a letter or a digit")


def _field(value: object) -> object:
    """Check the full name of a setting."""
    if isinstance(value, str) and owners_of(tuple(value.split("."))):
        return value
    raise ValueError("expected the full name of a setting, such as norm.kind or optim.lr")


Label = Annotated[str, BeforeValidator(_label)]


class Profile(ConfigModel):
    """Settings for one kind of machine, which override the experiment's own."""

    note: str = ""
    """Remark shown on screen when this profile is used, such as that it is reduced; default: none."""
    spec: Overrides = Field(default_factory=dict)
    """Overrides on the experiment's spec."""


class Point(ConfigModel):
    """One variant along an axis."""

    label: Label
    """Short name, part of the run's directory name."""
    set: Overrides = Field(default_factory=dict)
    """Overrides on the spec; default: none, which leaves the experiment unchanged."""


class Axis(ConfigModel):
    """One axis of a sweep: a grid over one field (`path`, `values`) or explicit variants (`points`)."""

    path: str = ""
    """Full name of the field that the grid varies, such as `optim.lr`."""
    values: tuple[Any, ...] = ()
    """Values of the grid."""
    labels: tuple[Label, ...] = ()
    """Labels of the grid's points; default: the value, after the field's name if it is a number (`lr0.1`)."""
    points: tuple[Point, ...] = ()
    """Explicit variants, each of which may set several fields."""

    @model_validator(mode="after")
    def _grid_or_points(self) -> Axis:
        if bool(self.path and self.values) == bool(self.points) or bool(self.path) != bool(self.values):
            raise ValueError("expected either path and values (a grid) or points (explicit variants)")
        if self.labels and len(self.labels) != len(self.values):
            raise ValueError(f"expected as many labels as values ({len(self.values)})")
        names = [point.label.casefold() for point in self.variants()]
        if len(set(names)) < len(names):
            raise ValueError("expected labels that differ (in more than upper and lower case)")
        return self

    def variants(self) -> tuple[Point, ...]:
        """The points of this axis; for a grid, one point per value."""
        if self.points:
            return self.points
        path = tuple(self.path.split("."))
        labels = self.labels or [grid_label(path[-1], value) for value in self.values]
        return tuple(
            Point(label=label, set=nested(path, value))
            for label, value in zip(labels, self.values, strict=True)
        )

    def fields(self) -> set[str]:
        """Dotted paths of all fields that points of this axis set."""
        return {dotted(path) for point in self.variants() for path in leaf_paths(point.set)}

    @property
    def title(self) -> str:
        """Name of this axis in messages: the field of a grid, else the labels."""
        return self.path or "/".join(point.label for point in self.points)


class Experiment(ConfigModel):
    """A preset or a user's file; `bncore.config.load` reads it, and `bncore.config.plan` plans its runs."""

    name: Label = "experiment"
    """Name of the sweep's directory; default: the file's name."""
    title: str = ""
    """Title of its figures; default: the name."""
    figure: str = ""
    """Figure of Santurkar et al. (2018) that it reproduces, such as `1` or `5b`; default: none."""
    description: str = ""
    """One or two sentences: the question, and what to look at."""
    extends: str | None = None
    """Base experiment whose settings this one starts from: a preset's name, or a path relative to this file."""
    group_by: tuple[Annotated[str, BeforeValidator(_field)], ...] = ()
    """Settings that group the runs in figures, such as `norm.kind`: runs that agree in them are drawn as one
    group; default: one group per variant, over its seeds."""
    band: Band = "interval"
    """Kind of band around the mean of several runs."""
    seeds: Annotated[tuple[NonNegativeCount, ...], Field(min_length=1)] = (0,)
    """Seeds; each variant is run once with each of them."""
    spec: Overrides = Field(default_factory=dict)
    """Overrides on the defaults of Spec."""
    profiles: dict[ProfileName, Profile] = Field(default_factory=dict)
    """Overrides per machine: `paper` (the paper's settings) and `cpu` (reduced)."""
    axes: tuple[Axis, ...] = ()
    """Axes of the sweep, whose product is run; default: a single run."""


def grid_label(field: str, value: object) -> str:
    """Default label of a grid point, such as ``lr0.1``, ``vgg11``, ``lp3`` or ``augment-on``."""
    if isinstance(value, bool):
        return f"{field}-{'on' if value else 'off'}"
    if isinstance(value, int | float):
        return f"{field}{value}"
    items = value if isinstance(value, list | tuple) else [value]
    text = re.sub(r"[^A-Za-z0-9._+-]+", "", "-".join(map(str, items))).lstrip("._+-")
    return (text or field)[:40]


def schema() -> dict[str, Any]:
    """JSON schemas (draft 2020-12) of the two kinds of file: `{"Experiment": ..., "Spec": ...}`.

    The descriptions are the fields' docstrings. Tables of overrides in an experiment refer to the schema of
    `Spec`, all of whose fields are optional.
    """
    _, whole = models_json_schema([(Experiment, "validation"), (Spec, "validation")])
    shapes: dict[str, Any] = whole["$defs"]
    overrides = {"$ref": "#/$defs/Spec"}
    for model, field in (("Experiment", "spec"), ("Profile", "spec"), ("Point", "set")):
        described = shapes[model]["properties"][field]
        shapes[model]["properties"][field] = overrides | {"description": described["description"]}
    for field in ("data", "net"):
        # The tag may be omitted, so that a table can match more than one shape.
        shapes["Spec"]["properties"][field]["anyOf"] = shapes["Spec"]["properties"][field].pop("oneOf")
    return {
        name: {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": name,
            "$ref": f"#/$defs/{name}",
            "$defs": shapes,
        }
        for name in ("Experiment", "Spec")
    }
