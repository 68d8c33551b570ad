"""Creation of sweep directories, either completely or not at all."""

from __future__ import annotations

import errno
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import tomli_w

from bncore.config.plan import Plan
from bncore.config.toml import spec_to_toml, to_table
from bncore.store.errors import StoreError
from bncore.store.paths import RunDir, SweepDir
from bncore.store.status import Status, write_status


def create_sweep(plan: Plan, *, root: Path, out: Path | None = None) -> SweepDir:
    """Create a sweep directory with a directory for each of its runs, all of them queued.

    Arguments:
        plan: the resolved plan, without any "auto".
        root: directory in which ``<experiment>-<NNN>`` is created, with the next free number.
        out: the sweep directory itself, instead of one under `root`; must be new or empty.

    Raises:
        StoreError: `out` is not empty, or the file system refuses; nothing is left behind.
    """
    with new_directory(root, plan.experiment.name, out=out) as (building, finish):
        _fill(plan, building)
        return SweepDir(finish())


@contextmanager
def new_directory(
    folder: Path, name: str, *, digits: int = 3, out: Path | None = None, hint: str = ""
) -> Iterator[tuple[Path, Callable[[], Path]]]:
    """Yield a hidden directory to fill, and a function that gives it its name and returns its path: the result
    appears whole or not at all.

    Arguments:
        folder, name, digits: as for `next_name`.
        out: the final path instead of a numbered one in `folder`; must be new or empty.
        hint: end of the message if nothing can be created there.

    Raises:
        StoreError: `out` is not empty, or the file system refuses; nothing is left behind.
    """
    if out is not None and ".." in out.parts:
        out = out.resolve()
    try:
        if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise FileExistsError(errno.EEXIST, "exists and is not an empty directory")
        folder = folder if out is None else out.parent
        folder.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=folder))
    except OSError as error:
        raise StoreError(f"{out or folder}: cannot be written: {error.strerror}{hint}") from error

    def finish() -> Path:
        while True:
            final = out or folder / next_name(folder, name, digits=digits)
            try:
                return building.rename(final)  # fails if another directory there is not empty
            except OSError:
                if out is not None or not final.exists():
                    raise
                # Another process has just taken this number.

    try:
        building.chmod(0o755)
        yield building, finish
    except OSError as error:
        raise StoreError(f"{out or folder}: cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _fill(plan: Plan, path: Path) -> None:
    (path / "inbox").mkdir()
    table = {
        "profile": plan.profile,
        "notes": list(plan.notes),
        "queue": [run.name for run in plan.runs],
        "experiment": to_table(plan.experiment),
    }
    (path / "sweep.toml").write_text(tomli_w.dumps(table))
    for planned in plan.runs:
        run = RunDir(path / planned.name)
        run.inbox.mkdir(parents=True)
        run.checkpoints.mkdir()
        run.spec_file.write_text(spec_to_toml(planned.spec))
        write_status(run, Status("queued", steps=planned.spec.steps))


def next_name(folder: Path, name: str, *, digits: int = 3) -> str:
    """``<name>-<NNN>`` with the next free number in `folder`."""
    numbers = [
        int(m[1]) for p in folder.iterdir() if (m := re.fullmatch(rf"{re.escape(name)}-(\d+)", p.name))
    ]
    return f"{name}-{max(numbers, default=0) + 1:0{digits}d}"
