"""Changes of a run's spec between two steps, and the spec that results.

Changes are named as in the spec: dotted paths such as ``norm.kind``, with the values that the field accepts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any

from bncore.config.check import ConfigLayer, check_spec
from bncore.config.errors import Problem, SpecError, did_you_mean
from bncore.config.fields import Path, dotted, leaves, owners_of, tables_at
from bncore.config.model import Spec
from bncore.config.overrides import nested, parse_override
from bncore.config.probes import Cadence
from bncore.config.toml import to_table

Changes = dict[str, Any]
"""New values by dotted path."""


def settable(path: Path) -> bool:
    """Whether the field at `path` may change while a run trains.

    These are the norm, the noise, the learning rate and the cadence of every probe. Changing anything else would
    make it a different run.
    """
    if not owners_of(path) or tables_at(path):
        return False
    if path == ("optim", "lr"):
        return True
    if path[0] == "probes":
        return path[-1] in Cadence.model_fields
    return path[0] in ("norm", "noise")


def settable_fields() -> tuple[str, ...]:
    """The dotted paths of all fields that may change."""
    return tuple(dotted(leaf) for leaf in leaves() if settable(leaf))


def parse_changes(texts: Iterable[str], source: str = "set") -> Changes:
    """Parse changes as typed by the user, such as ``noise=on`` or ``lr=0.05``.

    Arguments:
        texts: settings in the syntax of `bncore.config.overrides.parse_override`.
        source: source of the settings, named in problems.

    Raises:
        SpecError: all problems: unknown fields, fields that may not change, values that a field does not accept.
    """
    changes: Changes = {}
    problems: list[Problem] = []
    for text in texts:
        try:
            for override in parse_override(text, source):
                if settable(override.path):
                    changes[dotted(override.path)] = override.value
                else:
                    problems.append(_not_settable(source, dotted(override.path), override.value))
        except SpecError as error:
            problems += error.problems
    if problems:
        raise SpecError(problems)
    return changes


def changed(spec: Spec, changes: Mapping[str, Any], source: str = "request") -> Spec:
    """`spec` with `changes` applied, validated as a whole.

    Raises:
        SpecError: a path may not change, or values are not accepted or do not fit together.
    """
    values = {tuple(path.split(".")): value for path, value in changes.items()}
    refused = [
        _not_settable(source, dotted(path), value) for path, value in values.items() if not settable(path)
    ]
    if refused:
        raise SpecError(refused)
    base = ConfigLayer("spec.toml", "", to_table(spec))
    layers = [ConfigLayer(source, "", nested(path, value)) for path, value in values.items()]
    result, problems = check_spec([base, *layers], base)
    if result is None:
        raise SpecError(problems)
    return result


def values_at(spec: Spec, paths: Iterable[str]) -> Changes:
    """The values of `spec` at dotted paths, as in JSON."""
    values = ((path, attrgetter(path)(spec)) for path in paths)
    return {path: list(value) if isinstance(value, tuple) else value for path, value in values}


def _not_settable(source: str, path: str, value: object) -> Problem:
    accepted = "one of norm.*, noise.*, optim.lr, probes.<name>.every, dense_every, dense_until or at"
    hint = did_you_mean(path, settable_fields())
    return Problem(source, path, value, accepted + hint, "cannot change while a run trains")
