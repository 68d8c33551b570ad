"""JSON schema of what a person may write, for editors and for `bnrun schema`."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from bncore.config.experiment import Experiment
from bncore.config.model import Spec


def schema() -> dict[str, Any]:
    """JSON schemas (draft 2020-12) of the two kinds of file: `{"Experiment": ..., "Spec": ...}`.

    Every description is the docstring of a field. Every table of overrides in an experiment refers to the
    schema of `Spec`, all of whose fields are optional.
    """
    _, whole = models_json_schema([(Experiment, "validation"), (Spec, "validation")])
    shapes: dict[str, Any] = whole["$defs"]
    overrides = {"$ref": "#/$defs/Spec"}
    for model, field in (("Experiment", "spec"), ("Profile", "spec"), ("Point", "set")):
        described = shapes[model]["properties"][field]
        shapes[model]["properties"][field] = overrides | {"description": described["description"]}
    for field in ("data", "net"):
        # The tag may be left out, so a table can fit more than one shape.
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
