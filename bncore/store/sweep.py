"""Creation of sweep directories, either completely or not at all."""

from __future__ import annotations

import errno
import re
import shutil
import tempfile
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
    try:
        if out is not None:
            return _create_at(plan, out.resolve() if ".." in out.parts else out)
        root.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                return _create_at(plan, root / next_name(root, plan.experiment.name))
            except OSError as error:  # another process has just taken this number
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
    except OSError as error:
        raise StoreError(f"{out or root}: cannot be written: {error.strerror}") from error


def _create_at(plan: Plan, path: Path) -> SweepDir:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(errno.EEXIST, "exists and is not an empty directory", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        building.chmod(0o755)
        _fill(plan, building)
        building.rename(path)  # fails if the directory is no longer empty
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return SweepDir(path)


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
