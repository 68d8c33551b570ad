"""Loading experiments from TOML: presets by name, the user's files, and the experiments they extend."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bncore.config.check import ConfigLayer, check, check_spec, lay
from bncore.config.errors import Problem, SpecError, did_you_mean
from bncore.config.experiment import PROFILES, Experiment, Profile, ProfileName
from bncore.config.fields import owners_of, tables_at
from bncore.config.overrides import suggestion
from bncore.config.parse import read_table


def preset_dir() -> Path:
    """Directory of the presets: inside an installed package, next to the package in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "presets"
    return installed if installed.is_dir() else package.parent / "presets"


def preset_names() -> tuple[str, ...]:
    """Names of the presets, sorted."""
    return tuple(sorted(path.stem for path in preset_dir().glob("*.toml")))


def load_experiment(name_or_path: str | Path) -> Experiment:
    """Load an experiment and the experiments it extends, flattened into one that extends nothing.

    A string without a slash and without ``.toml`` names a preset, anything else a file. The extending file has
    precedence: its spec overrides even the profiles of the experiment it extends. Its axes, seeds and texts
    replace the extended ones. Everything that can be checked before a profile is chosen is checked, for every
    profile and variant.

    Raises:
        SpecError: all problems found in this file and in those it extends.
    """
    chain = _chain(_find(name_or_path, "", ""))
    problems = [problem for file, one in chain for problem in _axis_problems(file, one)]
    problems = problems or list(_spec_problems(chain))
    if problems:
        raise SpecError(problems)
    return _flatten(chain)


Chain = list[tuple[str, Experiment]]


def _find(name_or_path: str | Path, file: str, field: str, beside: Path | None = None) -> Path:
    text = str(name_or_path)
    if isinstance(name_or_path, str) and "/" not in text and not text.endswith(".toml"):
        if text not in preset_names():
            files = [path.name for path in Path().glob("*.toml")]
            expected = f"one of {', '.join(preset_names())}{did_you_mean(text, (*preset_names(), *files))}"
            raise SpecError([Problem(file or "preset", field, text, expected, "no such preset")])
        return preset_dir() / f"{text}.toml"
    path = (beside / text) if beside else Path(text)
    if missing := _not_a_file(path):
        raise SpecError([Problem(file or "file", field, text, message=missing)])
    return path


def _not_a_file(path: Path) -> str:
    """The reason why `path` cannot be read as a file; empty if it can."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "no such file"
    except (OSError, ValueError) as error:  # too long, circular links, a null byte
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"
    if stat.S_ISDIR(mode):
        return "is a directory"
    return "" if stat.S_ISREG(mode) else "not a plain file"


def _chain(path: Path) -> Chain:
    """The experiment at `path` and those it extends, base first."""
    chain: Chain = []
    seen: list[Path] = []
    while True:
        file = str(path)
        if path.resolve() in seen:
            circle = " -> ".join(p.name for p in [*seen, path.resolve()])
            raise SpecError(
                [Problem(chain[0][0], "extends", chain[0][1].extends, message=f"a circle: {circle}")]
            )
        seen.append(path.resolve())
        one = _read(path)
        chain.insert(0, (file, one))
        if one.extends is None:
            return chain
        path = _find(one.extends, file, "extends", path.parent)


def _read(path: Path) -> Experiment:
    table = read_table(path)
    whole = ConfigLayer(str(path), "", table)
    name = re.sub(r"[^A-Za-z0-9._+-]+", "-", path.stem).lstrip("._+-")[:40] or "experiment"
    one, problems = check(Experiment, {"name": name, **table}, lambda _: whole)
    if one is not None:
        return one
    if isinstance(table.get("spec"), dict):  # also report the problems inside a well-formed table
        layer = ConfigLayer(str(path), "spec", table["spec"])
        problems += check_spec([layer], layer)[1]
    raise SpecError(problems)


def _axis_problems(file: str, one: Experiment) -> Iterable[Problem]:
    """Duplicate seeds, unknown fields, and fields set by more than one axis."""
    if len(set(one.seeds)) < len(one.seeds):
        yield Problem(file, "seeds", one.seeds, "each seed once")
    taken: dict[str, str] = {}
    for index, axis in enumerate(one.axes):
        field = f"axes[{index}]"
        path = tuple(axis.path.split("."))
        if axis.path and (not owners_of(path) or tables_at(path)):
            expected = f"a field in full, such as optim.lr{suggestion(axis.path)}"
            yield Problem(file, f"{field}.path", axis.path, expected)
            continue
        for name in axis.fields():
            if name == "seed":
                yield Problem(file, field, "seed", message="seeds are no axis: write seeds = [0, 1, 2]")
            if name in taken:
                yield Problem(file, field, name, message=f"{taken[name]} sets this field too")
        taken.update(dict.fromkeys(axis.fields(), field))


def _spec_problems(chain: Chain) -> Iterable[Problem]:
    """Problems of every profile with every point of every axis, each with the file that wrote the setting."""
    file, last = chain[-1]
    axes_file, axes = next(
        ((f, one.axes) for f, one in reversed(chain) if "axes" in one.model_fields_set), (file, ())
    )
    points: list[list[ConfigLayer]] = [[]] if not axes else []
    for i, axis in enumerate(axes):
        for j, point in enumerate(axis.variants()):
            where = f"axes[{i}].points[{j}].set" if axis.points else f"axes[{i}].values[{j}]"
            points.append([ConfigLayer(axes_file, where, point.set)])
    for profile in _profiles(chain) or (None,):
        layers = _layers(chain, profile)
        for point_layers in points:
            yield from check_spec([*layers, *point_layers], ConfigLayer(file, "spec", last.spec))[1]
    for f, one in chain:
        if "seed" in one.spec or any("seed" in profile.spec for profile in one.profiles.values()):
            yield Problem(f, "spec.seed", accepted="seeds = [0, 1, 2] at the head of the file")


def _profiles(chain: Chain) -> tuple[ProfileName, ...]:
    return tuple(p for p in PROFILES if any(p in one.profiles for _, one in chain))


def _layers(chain: Chain, profile: ProfileName | None) -> list[ConfigLayer]:
    layers = []
    for file, one in chain:
        layers.append(ConfigLayer(file, "spec", one.spec))
        if profile is not None and profile in one.profiles:
            layers.append(ConfigLayer(file, f"profiles.{profile}.spec", one.profiles[profile].spec))
    return layers


def _flatten(chain: Chain) -> Experiment:
    if len(chain) == 1:
        return chain[0][1]
    merged: dict[str, Any] = {}
    for _, one in chain:
        merged.update({key: getattr(one, key) for key in one.model_fields_set})
    profiles = {}
    for profile in _profiles(chain):
        notes = [one.profiles[profile].note for _, one in chain if profile in one.profiles]
        note = next((note for note in reversed(notes) if note), "")
        # The whole stack, so that merging it into `spec` gives the chain's result.
        profiles[profile] = Profile(note=note, spec=lay(_layers(chain, profile))[0])
    spec = lay([ConfigLayer(file, "spec", one.spec) for file, one in chain])[0]
    return Experiment.model_validate(merged | {"extends": None, "spec": spec, "profiles": profiles})
