"""One writer: `owner.json` says who may write a run directory.

It appears by link(2), which fails where it already exists, so of two processes that want a run one gets it. The
right to displace a holder is won by link(2) too, at a name made of that holder's nonce (the claim). Whoever has it
looks again whether the holder is still the one that was judged, and renames the claim over `owner.json`: nobody
else can have changed it meanwhile, and there is no moment without a holder.
"""

from __future__ import annotations

import hashlib
import os
import socket
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from pydantic import TypeAdapter

from bncore.store.errors import AlreadyOwnedError, StoreError
from bncore.store.failpoints import failpoint
from bncore.store.files import read_as
from bncore.store.paths import OwnedDir

CLAIM_S = 20.0
"""Seconds, by the observer's own clock, after which a claim of another host counts as left lying."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds a run."""

    host: str
    boot: str
    """Boot id of the host."""
    pid: int
    started: int
    """Start time of the process, in clock ticks since boot: a pid alone may be somebody else's by now."""
    nonce: str
    namespace: str = ""
    """Pid namespace: seen from another container of this host, its pid is nobody or somebody else."""
    task: str = ""
    """Of a cluster's task: ``<array job>_<index>``. Slurm runs a task once at a time."""
    restarts: int = 0
    """How often that task had been put back into the queue before this process."""
    inode: int = 0
    """Of the directory that it holds; 0: not told by an earlier program."""
    path: str = ""
    """Where that directory was when it took it."""

    def is_local(self) -> bool:
        """Whether this host can tell whether it lives: it ran here, before this boot or in this pid namespace."""
        if self.host != socket.gethostname():
            return False
        return self.boot != boot_id() or self.namespace in ("", pid_namespace())

    def known_dead(self) -> bool:
        """Whether this host can tell that the process is gone; False where it cannot tell."""
        if not self.is_local():
            return False
        return self.boot != boot_id() or process_start(self.pid) != self.started

    def is_elsewhere(self, folder: Path) -> bool:
        """Whether it holds another directory, of which `folder` is a copy; False where this host cannot tell.

        A directory that is renamed keeps its inode; where inodes change, one that is not renamed keeps its path.
        """
        if not self.inode or not self.is_local() or _inode(folder) in (0, self.inode):
            return False
        return _path(folder) != self.path

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


_OWNER = TypeAdapter(Owner)
Judge = Callable[[Path, Owner], bool]
"""Whether a holder may be displaced from where it stands."""


class Ownership:
    """The right to write a run directory, as long as nobody took it over."""

    def __init__(
        self, run: OwnedDir, holder: Owner, identity: tuple[int, int] | None, *, contested: bool
    ) -> None:
        self.run = run
        self.holder = holder
        self.contested = contested
        """Whether it was taken from a holder that may be alive, and in the middle of writing."""
        self._file = os.fspath(run.owner_file)  # asked for before every line of a journal
        self._seen = identity

    def is_valid(self) -> bool:
        """Whether the run is still held by this process; one stat(2) where nothing changed."""
        identity = _identity(self._file)
        if identity is not None and identity == self._seen:
            return True
        present = _read(self.run.owner_file)
        if present is None or present.nonce != self.holder.nonce:
            return False
        self._seen = identity
        return True

    def release(self) -> None:
        """Give the run up, if it is still held and the file system lets it be; a dead holder holds nothing."""
        claim = _claim(self.run, self.holder.nonce)
        with suppress(OSError):
            if self.is_valid() and _link(self.run.owner_file, claim):
                if self.is_valid():
                    self.run.owner_file.unlink()
                claim.unlink()


def acquire(
    run: OwnedDir,
    *,
    force: bool = False,
    silent: Callable[[Owner], bool] = lambda _: False,
    task: str = "",
    restarts: int = 0,
) -> Ownership:
    """Become the writer of `run`.

    Arguments:
        task, restarts: see `Owner`.
        force: take it from a living holder too.
        silent: whether a holder that is not known to be dead has been silent for too long; called before it is
            refused, and may take its time to find out.

    Raises:
        AlreadyOwnedError: somebody else holds it; the message says who.
        StoreError: the file system refuses.
    """
    pid, nonce = os.getpid(), uuid.uuid4().hex
    started = process_start(pid) or 0
    who = (socket.gethostname(), boot_id(), pid, started, nonce, pid_namespace(), task, restarts)
    mine = Owner(*who, _inode(run.path), _path(run.path))
    temporary = run.path / f".owner.{mine.nonce}"
    contested = False

    def displaceable(_: Path, other: Owner) -> bool:
        nonlocal contested
        contested = not (other.known_dead() or other.is_elsewhere(run.path))
        return not contested or force or silent(other)

    def left_lying(claim: Path, other: Owner) -> bool:
        nonlocal contested
        if other.known_dead():
            return True
        if other.is_local() or not (force or _unmoved(claim, other)):
            return False
        contested = True  # it may be frozen, and go on one day
        return True

    try:
        temporary.write_bytes(orjson.dumps(asdict(mine)))
        _take(run, run.owner_file, temporary, displaceable, left_lying)
        failpoint("owner.link")
        identity = _identity(temporary)
        _tidy(run)
    except OSError as error:
        raise StoreError(f"{run.owner_file}: cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()
    return Ownership(run, mine, identity, contested=contested)


def read_owner(run: OwnedDir) -> Owner | None:
    """The present holder; None where there is none, the file makes no sense, or came with a copy of another's
    directory."""
    holder = _read(run.owner_file)
    return None if holder is None or holder.is_elsewhere(run.path) else holder


def boot_id() -> str:
    """The kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def pid_namespace() -> str:
    """The kernel's name of this process's pid namespace; empty where it does not say."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def process_start(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot; None where there is no such process (or a zombie)."""
    try:
        fields_after_name = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields_after_name[0] == "Z" else int(fields_after_name[19])


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    return True


def _take(run: OwnedDir, place: Path, mine: Path, displaceable: Judge, left_lying: Judge) -> None:
    """Make `place` a link to `mine`, displacing who stands there if that is allowed.

    Arguments:
        displaceable: whether who stands at that place may be displaced.
        left_lying: the same of a claim.

    Raises:
        AlreadyOwnedError: it is not.
    """
    while not _link(mine, place):
        other = _read(place)
        if other is None and not place.exists():
            continue
        if other is not None and not displaceable(place, other):
            if _read(place) != other:  # gone, or another's, since it was judged
                continue
            raise AlreadyOwnedError(f"{run.name} is held by {other}")
        of = other.nonce if other else "unreadable"
        claim = _claim(run, of if place == run.owner_file else f"{place.name} {of}")
        _take(run, claim, mine, left_lying, left_lying)
        failpoint("owner.claim")
        try:
            if place.exists() and _read(place) == other:
                claim.rename(place)
                return
            claim.unlink()
        except FileNotFoundError:  # the one it was taken from was only frozen, and has used or removed it
            with suppress(OSError):
                if mine.samefile(place):
                    return


def _unmoved(claim: Path, holder: Owner) -> bool:
    """Whether a claim, which lasts microseconds, stays for so long that who made it must have died."""
    until = time.monotonic() + CLAIM_S
    while _read(claim) == holder:
        if time.monotonic() >= until:
            return True
        time.sleep(0.05)
    return False


def _claim(run: OwnedDir, nonce: str) -> Path:
    """The name under which one process at a time has the right to displace the holder of that nonce."""
    return run.path / f".owner.{hashlib.sha256(nonce.encode()).hexdigest()[:32]}.claim"


def _tidy(run: OwnedDir) -> None:
    """Remove what writers that were killed in the middle of a file have left lying."""
    for name in (run.status_file.name, "meta.json", "journal.jsonl"):
        for orphan in run.path.glob(f".{name}.*"):
            orphan.unlink(missing_ok=True)
    for orphan in run.path.glob(".owner.*"):
        holder = _read(orphan)
        if holder is not None and holder.known_dead():
            orphan.unlink(missing_ok=True)


def _read(path: Path) -> Owner | None:
    return read_as(_OWNER, path)


def _inode(folder: Path) -> int:
    """0 where it cannot be told."""
    try:
        return folder.stat().st_ino
    except OSError:
        return 0


def _path(folder: Path) -> str:
    return os.fsencode(os.path.realpath(folder)).decode(errors="backslashreplace")


def _identity(path: str | Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
