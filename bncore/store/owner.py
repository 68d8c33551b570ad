"""Single writer: `owner.json` names the process that may write a run directory.

The file is created by link(2), which fails if it already exists, so only one of two competing processes succeeds.
The right to displace a holder is also won by link(2), under a name derived from that holder's nonce (the claim).
The winner checks again that the holder is still the one it judged, and renames the claim over `owner.json`: no
other process can have changed it in between, and there is no moment without a holder.
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
"""Seconds, by the observer's own clock, after which a claim made on another host counts as abandoned."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that holds a run."""

    host: str
    boot: str
    """Boot id of the host."""
    pid: int
    started: int
    """Start time of the process in clock ticks since boot, because the pid may since have been reused."""
    nonce: str
    namespace: str = ""
    """Pid namespace: in another container of the same host, the pid denotes no process or a different one."""
    task: str = ""
    """For a cluster task: ``<array job>_<index>``. Slurm never runs a task twice at the same time."""
    restarts: int = 0
    """How often that task had been requeued before this process started."""
    inode: int = 0
    """Inode of the held directory; 0: not recorded (earlier versions)."""
    path: str = ""
    """Path of the directory when it was acquired."""

    def is_local(self) -> bool:
        """Whether this host can tell if the process is alive: it ran here, before this boot or in this pid
        namespace."""
        if self.host != socket.gethostname():
            return False
        return self.boot != boot_id() or self.namespace in ("", pid_namespace())

    def known_dead(self) -> bool:
        """Whether the process is certainly gone; False if this host cannot tell."""
        if not self.is_local():
            return False
        return self.boot != boot_id() or process_start(self.pid) != self.started

    def is_elsewhere(self, folder: Path) -> bool:
        """Whether it holds another directory, of which `folder` is a copy; False if this host cannot tell.

        A renamed directory keeps its inode; on file systems with changing inodes, an unrenamed one keeps its path.
        """
        if not self.inode or not self.is_local() or _inode(folder) in (0, self.inode):
            return False
        return _path(folder) != self.path

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


_OWNER = TypeAdapter(Owner)
Judge = Callable[[Path, Owner], bool]
"""Predicate: may this holder be displaced from this path?"""


class Ownership:
    """The right to write a run directory, valid until another process takes the directory over."""

    def __init__(
        self, run: OwnedDir, holder: Owner, identity: tuple[int, int] | None, *, contested: bool
    ) -> None:
        self.run = run
        self.holder = holder
        self.contested = contested
        """Whether the previous holder may still be alive and in the middle of a write."""
        self._file = os.fspath(run.owner_file)  # checked before every line of a journal
        self._seen = identity

    def is_valid(self) -> bool:
        """Whether this process still holds the run; costs one stat(2) if nothing changed."""
        identity = _identity(self._file)
        if identity is not None and identity == self._seen:
            return True
        present = _read(self.run.owner_file)
        if present is None or present.nonce != self.holder.nonce:
            return False
        self._seen = identity
        return True

    def release(self) -> None:
        """Release the run if it is still held; errors are ignored, since a dead process holds nothing anyway."""
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
        force: also take the run from a live holder.
        silent: whether a holder not known to be dead has been silent for too long. Called before the request is
            refused; may block while it watches.

    Raises:
        AlreadyOwnedError: another process holds the run; the message says which.
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

    def abandoned(claim: Path, other: Owner) -> bool:
        nonlocal contested
        if other.known_dead():
            return True
        if other.is_local() or not (force or _unmoved(claim, other)):
            return False
        contested = True  # its process may be frozen and continue later
        return True

    try:
        temporary.write_bytes(orjson.dumps(asdict(mine)))
        _take(run, run.owner_file, temporary, displaceable, abandoned)
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
    """The present holder; None if there is none, if the file is invalid, or if it was copied along with another
    directory."""
    holder = _read(run.owner_file)
    return None if holder is None or holder.is_elsewhere(run.path) else holder


def boot_id() -> str:
    """The kernel's id of the current boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def pid_namespace() -> str:
    """The kernel's name for this process's pid namespace; empty if unavailable."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def process_start(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot; None if it does not exist or is a zombie."""
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


def _take(run: OwnedDir, target: Path, mine: Path, displaceable: Judge, abandoned: Judge) -> None:
    """Make `target` a link to `mine`, displacing the present holder if allowed.

    Arguments:
        displaceable: whether the holder at `target` may be displaced.
        abandoned: whether a competing claim is abandoned and may be displaced.

    Raises:
        AlreadyOwnedError: the holder may not be displaced.
    """
    while not _link(mine, target):
        other = _read(target)
        if other is None and not target.exists():
            continue
        if other is not None and not displaceable(target, other):
            if _read(target) != other:  # the holder has changed since it was judged
                continue
            raise AlreadyOwnedError(f"{run.name} is held by {other}")
        of = other.nonce if other else "unreadable"
        claim = _claim(run, of if target == run.owner_file else f"{target.name} {of}")
        _take(run, claim, mine, abandoned, abandoned)
        failpoint("owner.claim")
        try:
            if target.exists() and _read(target) == other:
                claim.rename(target)
                return
            claim.unlink()
        except FileNotFoundError:  # the claim's owner was only frozen, and has used or removed it
            with suppress(OSError):
                if mine.samefile(target):
                    return


def _unmoved(claim: Path, holder: Owner) -> bool:
    """Whether a claim, which normally lasts microseconds, persists for `CLAIM_S`: its maker must have died."""
    until = time.monotonic() + CLAIM_S
    while _read(claim) == holder:
        if time.monotonic() >= until:
            return True
        time.sleep(0.05)
    return False


def _claim(run: OwnedDir, nonce: str) -> Path:
    """Path of the claim: the process that links it has the right to displace the holder with that nonce."""
    return run.path / f".owner.{hashlib.sha256(nonce.encode()).hexdigest()[:32]}.claim"


def _tidy(run: OwnedDir) -> None:
    """Remove temporary files left by writers that were killed."""
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
    """Inode of `folder`; 0 if unavailable."""
    try:
        return folder.stat().st_ino
    except OSError:
        return 0


def _path(folder: Path) -> str:
    return os.fsencode(os.path.realpath(folder)).decode(errors="backslashreplace")


def _identity(path: str | Path) -> tuple[int, int] | None:
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
