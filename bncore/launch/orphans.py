"""Workers whose supervisor died: they checkpoint and end by themselves, and hold their runs until then."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from bncore.store.owner import pid_namespace, process_start
from bncore.store.paths import RunDir

PATIENCE_S = 120.0
"""Seconds an orphan may take: it ends after the step, probe or evaluation that it is in."""
POLL_EVERY_S = 0.1


def orphans(runs: Sequence[RunDir]) -> list[RunDir]:
    """Those of `runs` that have a worker on this host whose supervisor is no more.

    Processes are looked for, not holders: one that is just starting does not hold its run yet.
    """
    by_path = {run.path.resolve(): run for run in runs}
    found = {by_path[path] for path in _orphaned_paths() if path in by_path}
    return [run for run in runs if run in found]


def await_orphans(
    runs: Sequence[RunDir],
    tell: Callable[[list[RunDir]], object] = lambda _: None,
    *,
    seconds: float = PATIENCE_S,
) -> list[RunDir]:
    """Wait until no run has an orphan; those that still have one after so many seconds.

    Arguments:
        tell: called once with what is waited for.
    """
    until = time.monotonic() + seconds
    left = orphans(runs)
    if left:
        tell(left)
    while left and time.monotonic() < until:
        time.sleep(POLL_EVERY_S)
        left = orphans(left)
    return left


def _orphaned_paths() -> Iterator[Path]:
    """Run directories of the workers of this pid namespace that are not children of a living supervisor."""
    namespace = pid_namespace()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):  # gone meanwhile, or somebody else's
            arguments = [os.fsdecode(a) for a in (process / "cmdline").read_bytes().split(b"\0")]
            if "--supervisor" not in arguments or "bncore.train.worker" not in arguments:
                continue
            supervisor = arguments[arguments.index("--supervisor") + 1]
            path = Path(arguments[arguments.index("bncore.train.worker") + 1])
            same_namespace = str((process / "ns/pid").readlink()) == namespace
            alive = supervisor == _parent(process) and process_start(int(supervisor)) is not None
            if same_namespace and not alive:
                yield path.resolve()


def _parent(process: Path) -> str:
    return (process / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]
