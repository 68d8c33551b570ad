"""One writer: `owner.json` says who may write a run directory.

It appears by link(2), which fails where it already exists, so of two processes that want a run one gets it. A
takeover renames the old file away first; only the process whose rename succeeded, and moved the very holder
that was judged dead, goes on to link its own.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import orjson

from bncore.store.errors import Owned, StoreError
from bncore.store.faults import fault
from bncore.store.paths import RunDir


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a run."""

    host: str
    boot: str
    """Boot id of the host."""
    pid: int
    started: int
    """Start time of the process, in clock ticks since boot: a pid alone may be somebody else's by now."""
    nonce: str

    def known_dead(self) -> bool:
        """Whether this host can tell that the process is gone; False where it cannot tell."""
        if self.host != socket.gethostname():
            return False
        return self.boot != boot_id() or process_start(self.pid) != self.started

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Ownership:
    """The right to write a run directory, as long as nobody took it over."""

    def __init__(self, run: RunDir, holder: Holder) -> None:
        self.run = run
        self.holder = holder
        self._seen = _identity(run.owner_file)

    def still_mine(self) -> bool:
        """Whether the run is still held by this process; one stat(2) where nothing changed."""
        identity = _identity(self.run.owner_file)
        if identity is not None and identity == self._seen:
            return True
        present = read_owner(self.run)
        if present is None or present.nonce != self.holder.nonce:
            return False
        self._seen = identity
        return True

    def release(self) -> None:
        """Give the run up, if it is still held."""
        if self.still_mine():
            self.run.owner_file.unlink(missing_ok=True)


def acquire(
    run: RunDir, *, force: bool = False, silent: Callable[[Holder], bool] = lambda _: False
) -> Ownership:
    """Become the writer of `run`.

    Arguments:
        force: take it from a living holder too.
        silent: whether a holder on another host has been silent for too long, as the caller observed it.

    Raises:
        Owned: somebody else holds it; the message says who.
        StoreError: the file system refuses.
    """
    mine = Holder(
        socket.gethostname(), boot_id(), os.getpid(), process_start(os.getpid()) or 0, uuid.uuid4().hex
    )
    temporary = run.path / f".owner.{mine.nonce}"
    try:
        temporary.write_bytes(orjson.dumps(asdict(mine)))
        while not _link(temporary, run.owner_file):
            other = read_owner(run)
            if other is not None and not (force or other.known_dead() or silent(other)):
                raise Owned(f"{run.name} is held by {other}")
            _move_away(run, other)
        fault("owner.link")
    except OSError as error:
        raise StoreError(f"{run.owner_file}: cannot be written: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return Ownership(run, mine)


def read_owner(run: RunDir) -> Holder | None:
    """The present holder; None where there is none, or the file makes no sense."""
    return _read(run.owner_file)


def boot_id() -> str:
    """The kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def process_start(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot; None where there is no such process (or a zombie)."""
    try:
        fields_after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields_after_name[0] == "Z" else int(fields_after_name[19])


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    return True


def _move_away(run: RunDir, judged: Holder | None) -> None:
    """Remove the holder that was judged; put back whoever else was met in its place."""
    aside = run.path / f".owner.{uuid.uuid4().hex}"
    try:
        run.owner_file.rename(aside)
    except FileNotFoundError:
        return
    met = _read(aside)
    if met != judged:  # another taker was faster: it holds the run now
        _link(aside, run.owner_file)
    aside.unlink(missing_ok=True)


def _read(path: Path) -> Holder | None:
    try:
        table = orjson.loads(path.read_bytes())
        holder = Holder(**{f.name: table[f.name] for f in fields(Holder)})
    except (OSError, orjson.JSONDecodeError, TypeError, KeyError):
        return None
    whole = isinstance(holder.pid, int) and isinstance(holder.started, int)
    texts = (holder.host, holder.boot, holder.nonce)
    return holder if whole and all(isinstance(text, str) for text in texts) else None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
