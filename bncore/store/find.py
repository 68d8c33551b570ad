"""From what a person types to a run or a sweep."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from bncore.spec.errors import printable
from bncore.store.errors import NoSuchRun, StoreError
from bncore.store.paths import RunDir, SweepDir

LAST = "@last"


def list_sweeps(root: Path) -> list[SweepDir]:
    """The sweeps under `root`, oldest first; anything else lying there is passed over.

    Raises:
        StoreError: `root` is there and cannot be read.
    """
    try:
        entries = list(root.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"{root}: cannot be read: {error.strerror}") from error
    made: list[tuple[int, str, SweepDir]] = []
    for path in entries:
        sweep = SweepDir(path)
        with suppress(OSError):  # not readable, or removed meanwhile
            if not path.name.startswith(".") and sweep.sweep_file.is_file():
                made.append((sweep.sweep_file.stat().st_mtime_ns, sweep.name, sweep))
    return [sweep for *_, sweep in sorted(made, key=lambda one: one[:2])]


def find(root: Path, name: str) -> RunDir | SweepDir:
    """The run or sweep that `name` means: a path, ``sweep/run``, a unique prefix of either, or ``@last``.

    Raises:
        NoSuchRun: nothing, or more than one, goes by that name.
        StoreError: `root` cannot be read.
    """
    if not name.strip():
        raise NoSuchRun(f"{name!r}: no such run or sweep; expected a name, a path or {LAST}")
    sweeps = list_sweeps(root)
    if name == LAST:
        if not sweeps:
            raise NoSuchRun(f"{LAST}: no sweeps under {root}")
        return sweeps[-1]
    at_path = _at_path(Path(name))
    if at_path is not None:
        return at_path
    sweep_part, slash, run_part = name.strip("/").partition("/")
    candidates: dict[str, RunDir | SweepDir] = {sweep.name: sweep for sweep in sweeps}
    sweep = _unique(candidates, sweep_part, name, root)
    if not slash:
        return sweep
    assert isinstance(sweep, SweepDir)
    return _unique({printable(run.path.name): run for run in sweep.runs()}, run_part, name, root)


def _at_path(path: Path) -> RunDir | SweepDir | None:
    with suppress(OSError, ValueError):  # too long for a path, not readable, or holding a null byte
        if (path / "sweep.toml").is_file():
            return SweepDir(path.resolve())
        if (path / "spec.toml").is_file():
            return RunDir(path.resolve())
    return None


def _unique(
    candidates: dict[str, RunDir | SweepDir] | dict[str, RunDir], prefix: str, name: str, root: Path
) -> RunDir | SweepDir:
    if prefix in candidates:
        return candidates[prefix]
    matching = sorted(c for c in candidates if c.startswith(prefix)) if prefix else []
    if len(matching) == 1:
        return candidates[matching[0]]
    if matching:
        raise NoSuchRun(f"{name}: several go by that name: {', '.join(matching[:8])}")
    known = (", ".join(sorted(candidates)[:8]) or "none") + (", …" if len(candidates) > 8 else "")
    raise NoSuchRun(f"{name}: no such run or sweep under {root} (there: {known})")
