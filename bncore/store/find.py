"""Resolving names typed by a user to runs and sweeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

from bncore.config.errors import did_you_mean, escape_control
from bncore.store.errors import NoSuchRun, StoreError
from bncore.store.paths import RunDir, SweepDir, variant_and_seed

LAST = "@last"


def list_sweeps(root: Path) -> list[SweepDir]:
    """The sweeps under `root`, oldest first.

    Raises:
        StoreError: `root` exists but cannot be read.
    """
    return [place for place in list_places(root) if isinstance(place, SweepDir)]


def list_places(root: Path) -> list[RunDir | SweepDir]:
    """The sweeps under `root` and the runs directly under it, such as observed ones, oldest first. Anything else
    is ignored.

    Raises:
        StoreError: `root` exists but cannot be read.
    """
    try:
        entries = list(root.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"{root}: cannot be read: {error.strerror}") from error
    by_age: list[tuple[int, str, RunDir | SweepDir]] = []
    for path in entries:
        sweep, run = SweepDir(path), RunDir(path.absolute())
        with suppress(OSError):  # not readable, or just removed
            if path.name.startswith("."):
                continue
            if sweep.sweep_file.is_file():
                by_age.append((sweep.sweep_file.stat().st_mtime_ns, sweep.name, sweep))
            elif run.spec_file.is_file() and not run.sweep.sweep_file.exists():
                by_age.append((run.spec_file.stat().st_mtime_ns, sweep.name, run))
    return [place for *_, place in sorted(by_age, key=lambda one: one[:2])]


def find(root: Path, name: str) -> RunDir | SweepDir:
    """The run or sweep that `name` denotes: a path, ``sweep/run``, a unique prefix of either, ``@last``, or
    ``@last/run``.

    A run can be named by its directory or by its variant, and without its sweep if no sweep has that name.

    Raises:
        NoSuchRun: no run or sweep has that name, or several have.
        StoreError: `root` cannot be read.
    """
    if not name.strip():
        raise NoSuchRun(f"{name!r}: no such run or sweep; expected a name, a path or {LAST}")
    places = list_places(root)
    at_path = _at_path(Path(name))
    if at_path is not None:
        return at_path
    sweep_part, slash, run_part = _parts(name, places, root)
    by_name: dict[str, RunDir | SweepDir] = {
        escape_control(one.path.name): one for one in places if not slash or isinstance(one, SweepDir)
    }
    if slash and len(by_name) < len(places):
        by_name.setdefault(escape_control(root.absolute().name), SweepDir(root.absolute()))
    matches = _matching(by_name, sweep_part)
    if not matches and not slash:
        matches = [run for place in places for run in place.runs() if name in _names_of(run)]
    sweep = _only(matches, name, f"{root}", list(by_name), sweep_part)
    if not slash or not isinstance(sweep, SweepDir):
        return sweep
    runs_of = {escape_control(run.path.name): run for run in sweep.runs()}
    variants = {variant_and_seed(run)[0]: run for run in runs_of.values()}
    same: list[RunDir | SweepDir] = [r for r in runs_of.values() if variant_and_seed(r)[0] == run_part]
    matches = same if same and run_part not in runs_of else _matching(runs_of, run_part)
    return _only(matches, name, f"{sweep.path}", [*runs_of, *variants], run_part)


def find_all(root: Path, names: Sequence[str]) -> list[RunDir | SweepDir]:
    """The runs and sweeps that names and patterns denote, in order of `names`, without duplicates.

    Patterns are shell globs for sweeps (``exp0*``) or for runs (``exp0*/batch-*``). A run or sweep with exactly
    the pattern as its name takes precedence over matches.

    Raises:
        NoSuchRun: a name or pattern has no match, or a name is ambiguous.
        StoreError: `root` cannot be read.
    """
    by_path: dict[Path, RunDir | SweepDir] = {}
    for name in names:
        for one in _matches(root, name) if any(c in name for c in "*?[") else [find(root, name)]:
            by_path.setdefault(one.path.resolve(), one)
    return [one for path, one in by_path.items() if path.parent not in by_path]


def _matches(root: Path, pattern: str) -> list[RunDir | SweepDir]:
    """The runs and sweeps that match a pattern.

    Raises:
        NoSuchRun: none match.
    """
    with suppress(NoSuchRun):
        return [find(root, pattern)]
    places = list_places(root)
    sweep_part, slash, run_part = _parts(pattern, places, root)
    matches = [place for place in places if fnmatchcase(escape_control(place.path.name), sweep_part)]
    if slash:
        runs = [run for place in places for run in place.runs() if fnmatchcase(run.sweep.name, sweep_part)]
        matches = [run for run in runs if any(fnmatchcase(name, run_part) for name in _names_of(run))]
    if not matches:
        there = _listed([escape_control(place.path.name) for place in places])
        raise NoSuchRun(f"{pattern}: no run or sweep under {root} matches (there: {there})")
    return matches


def _parts(name: str, places: Sequence[RunDir | SweepDir], root: Path) -> tuple[str, str, str]:
    """The name of a sweep, a slash if that of a run follows, and that name.

    Raises:
        NoSuchRun: the newest of no sweeps is meant.
    """
    sweep_part, slash, run_part = name.strip("/").partition("/")
    if sweep_part != LAST:
        return sweep_part, slash, run_part
    if not places:
        raise NoSuchRun(f"{LAST}: no sweeps under {root}")
    return escape_control(places[-1].path.name), slash, run_part


def _names_of(run: RunDir) -> tuple[str, str]:
    """The names of a run within its sweep: its directory's name and its variant."""
    return escape_control(run.path.name), variant_and_seed(run)[0]


def _at_path(path: Path) -> RunDir | SweepDir | None:
    with suppress(OSError, ValueError):  # too long for a path, not readable, or containing a null byte
        if (path / "sweep.toml").is_file():
            return SweepDir(path.resolve())
        if (path / "spec.toml").is_file():
            return RunDir(path.resolve())
    return None


def _matching(candidates: Mapping[str, RunDir | SweepDir], prefix: str) -> list[RunDir | SweepDir]:
    """The exact match for `prefix`, else all candidates whose names start with it."""
    if prefix in candidates:
        return [candidates[prefix]]
    return [candidates[c] for c in sorted(candidates) if c.startswith(prefix)] if prefix else []


def _only(
    matches: Sequence[RunDir | SweepDir], name: str, where: str, names: Sequence[str], part: str
) -> RunDir | SweepDir:
    """The only element of `matches`.

    Arguments:
        where, names: where the search took place, and the names present there.
        part: the part of `name` that was searched for.

    Raises:
        NoSuchRun: `matches` is empty or has several elements.
    """
    if len(matches) == 1:
        return matches[0]
    if matches:
        several = [one.name if "/" not in name else escape_control(one.path.name) for one in matches]
        raise NoSuchRun(f"{name}: several go by that name: {', '.join(several[:8])}")
    hint = did_you_mean(part, sorted(set(names)))
    raise NoSuchRun(f"{name}: no such run or sweep under {where}{hint} (there: {_listed(names)})")


def _listed(names: Sequence[str]) -> str:
    """The first eight names in sorted order, as text."""
    there = sorted(set(names))
    return (", ".join(there[:8]) or "none") + (", …" if len(there) > 8 else "")
