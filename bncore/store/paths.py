"""Layout of run and sweep directories, and readers of `sweep.toml` and `meta.json`."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import orjson

from bncore.config.errors import SpecError, escape_control
from bncore.config.parse import read_table
from bncore.plain_files import read_plain

_CHECKPOINT = re.compile(r"step-(\d{9})(?:-(kept|parent))?\.pt")


class _In:
    """Descriptor for the path of an entry in a directory."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, holder: OwnedDir, _: object) -> Path:
        return holder.path / self._name


@dataclass(frozen=True, slots=True)
class OwnedDir:
    """A directory with a single writer: the worker of a run, or the supervisor of a sweep."""

    path: Path

    @property
    def name(self) -> str:
        """The directory's name, with control characters escaped."""
        return escape_control(self.path.name)

    status_file = _In("status.json")
    """Heartbeat."""
    owner_file = _In("owner.json")
    """The process that may write."""
    log_file = _In("log.txt")
    """Standard output and error of the process."""
    inbox = _In("inbox")
    """Incoming requests."""


@dataclass(frozen=True, slots=True)
class RunDir(OwnedDir):
    """A run directory; its files need not exist."""

    @property
    def name(self) -> str:
        """``<sweep>/<variant>-s<seed>``, as a user types it, with control characters escaped."""
        return escape_control(f"{self.path.parent.name}/{self.path.name}")

    @property
    def sweep(self) -> SweepDir:
        """The sweep that contains the run."""
        return SweepDir(self.path.parent)

    def runs(self) -> list[RunDir]:
        """The run itself, as a sweep lists its runs."""
        return [self]

    spec_file = _In("spec.toml")
    """The resolved spec."""
    meta_file = _In("meta.json")
    """Host, device, versions."""
    journal_file = _In("journal.jsonl")
    """Every event."""
    machine_file = _In("machine.jsonl")
    """Use of the machine, by heartbeat."""
    lineage_file = _In("lineage.json")
    """For a fork or a replay: the run it is derived from."""
    controls_file = _In("controls.json")
    """For an observed loop: the controls that may be changed."""
    checkpoints = _In("checkpoints")


@dataclass(frozen=True, slots=True)
class SweepDir(OwnedDir):
    """A sweep's directory."""

    sweep_file = _In("sweep.toml")
    """The resolved experiment, its axes and its queue."""

    def runs(self) -> list[RunDir]:
        """The sweep's existing runs: in the order of `sweep.toml` if that is readable, then forks and others by
        name."""
        queue = read_sweep(self).get("queue")
        if not isinstance(queue, list) or not all(map(_is_name, queue)):
            queue = []
        present = sorted(path.parent.name for path in self.path.glob("*/spec.toml"))
        runs = []
        for name in dict.fromkeys([*queue, *(name for name in present if not name.startswith("."))]):
            with suppress(OSError):  # not a valid directory name
                if (self.path / name).is_dir():
                    runs.append(RunDir(self.path / name))
        return runs


def _is_name(value: object) -> bool:
    """Whether a value is the name of an entry in a directory."""
    return isinstance(value, str) and value not in ("", ".", "..") and "/" not in value


def read_sweep(sweep: SweepDir) -> dict[str, Any]:
    """`sweep.toml` as a table; empty if it cannot be read."""
    try:
        return read_table(sweep.sweep_file)
    except SpecError:
        return {}


def variant_and_seed(run: RunDir) -> tuple[str, int]:
    """Variant and seed according to the directory's name: ``batch-s0-fork-1`` is seed 0 of "batch fork 1"."""
    match = re.fullmatch(r"(.*?)-s(\d+)((?:-fork-\d+)*)", run.path.name)
    if match is None:
        return escape_control(run.path.name), 0
    return escape_control(match[1] + match[3].replace("-", " ")), int(match[2])


class CheckpointFile(NamedTuple):
    """A checkpoint file as described by its name.

    ``step-000001240.pt`` holds the state before update 1240. A requested checkpoint is named
    ``step-000001240-kept.pt``; one that a fork or a replay started from, ``step-000001240-parent.pt``.
    """

    step: int
    why: str
    """Why it is never pruned: ``kept`` or ``parent``; empty if it may be pruned."""
    path: Path


def checkpoint_name(step: int, why: Literal["", "kept", "parent"] = "") -> str:
    return f"step-{step:09d}{why and f'-{why}'}.pt"


def list_checkpoints(folder: Path) -> list[CheckpointFile]:
    """The checkpoints in `folder` that are plain files, in order of step; at the same step, those that are never
    pruned come last."""
    names = sorted(p.name for p in folder.iterdir() if p.is_file()) if folder.is_dir() else []
    matches = [(match, folder / name) for name in names if (match := _CHECKPOINT.fullmatch(name))]
    return sorted(CheckpointFile(int(m[1]), m[2] or "", path) for m, path in matches)


def meta_of(run: RunDir) -> dict[str, Any]:
    """Contents of ``meta.json``; empty if missing or invalid."""
    try:
        table = orjson.loads(read_plain(run.meta_file))
    except (OSError, orjson.JSONDecodeError):
        return {}
    return table if isinstance(table, dict) else {}


def layer_names(run: RunDir) -> tuple[str, ...]:
    """Names of the layers of a network that is not from `bncore.nets`, in order and without the parameter's suffix
    ``.weight``; escaped; empty if ``meta.json`` does not list them."""
    names = meta_of(run).get("layers")
    names = names if isinstance(names, list) else []
    return tuple(escape_control(str(name).removesuffix(".weight")) for name in names)
