"""The explorer in a real pseudo-terminal of its own, and when it sent what."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

WIDTH, HEIGHT = 160, 48
PATIENCE_S = 60.0
"""After so long without what is waited for something is broken."""
POLL_S = 0.002
ENDING_S = 10.0
IDLE = 0.1
"""Share of a processor that a program at rest may use."""
SYNC_QUERY, SYNC_ANSWER = b"\x1b[?2026$p", b"\x1b[?2026;2$y"
"""Whether the terminal can show a picture at once when all of it has come: it can, as most can."""
BRAILLE = re.compile(rb"\xe2[\xa0-\xa3][\x80-\xbf]")
CURVES = 100
"""Braille characters from which on curves have been drawn, and not only samples of their lines."""


class Terminal:
    """A program started in a pseudo-terminal; everything it sends is read at once and kept with its time.

    Arguments:
        command: program and arguments.
        environment: of the program, beside what is inherited; None takes a variable away.
    """

    def __init__(self, command: list[str], environment: Mapping[str, str | None]) -> None:
        self._pieces: list[tuple[float, bytes]] = []
        self._head, tail = pty.openpty()
        fcntl.ioctl(tail, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
        changed = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **environment}
        self.begun = time.perf_counter()
        self._program = subprocess.Popen(
            command,
            stdin=tail,
            stdout=tail,
            stderr=tail,
            env={name: value for name, value in changed.items() if value is not None},
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509 - nothing but one system call
        )
        os.close(tail)
        self._thread = threading.Thread(target=self._drain, name="terminal", daemon=True)
        self._thread.start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._program.send_signal(signal.SIGCONT)
        self._program.terminate()
        try:
            self._program.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            self._program.kill()
            self._program.wait()
        self._thread.join()
        os.close(self._head)

    @property
    def pid(self) -> int:
        return self._program.pid

    def type(self, keys: str) -> float:
        """Press keys; when that was."""
        at = time.perf_counter()
        os.write(self._head, keys.encode())
        return at

    def pieces(self, since: float = 0.0) -> list[tuple[float, bytes]]:
        """(time, bytes) of what was sent after a moment, in the pieces that it was read in."""
        return [piece for piece in self._pieces.copy() if piece[0] > since]

    def sent(self, since: float = 0.0) -> int:
        """Bytes sent after a moment."""
        return sum(len(data) for _, data in self.pieces(since))

    def first(self, holds: Callable[[bytes], bool], since: float = 0.0) -> float:
        """When everything sent after a moment first held something.

        Raises:
            RuntimeError: the program has ended, or nothing of the kind came; with what it sent.
        """
        for _ in _while_patient():
            ended = self._program.poll() is not None
            if ended:
                self._thread.join(ENDING_S)  # what it sent last may not have been read yet
            text = b""
            for at, data in self.pieces(since):
                text += data
                if holds(text):
                    return at
            if ended:
                break
        tail = b"".join(data for _, data in self.pieces(since))[-2000:]
        raise RuntimeError(f"the explorer did not show what was waited for; it sent {tail!r}")

    def quiet(self, seconds: float, since: float = 0.0) -> float:
        """Wait until nothing has come for so long; when the last of it came, or `since` where nothing did."""
        for _ in _while_patient():
            last = max(self._pieces[-1][0] if self._pieces else 0.0, since)
            if time.perf_counter() - last >= seconds:
                return last
        raise RuntimeError(f"the explorer never was quiet for {seconds:g} s")

    def idle(self, seconds: float = 1.0) -> float:
        """Wait until nothing has come for so long and next to nothing was computed; when the last of it came."""
        for _ in _while_patient():
            computed = processor_s(self.pid, all_threads=True)
            time.sleep(seconds / 2)
            last = self._pieces[-1][0] if self._pieces else 0.0
            idle = processor_s(self.pid, all_threads=True) - computed < IDLE * seconds / 2
            if idle and time.perf_counter() - last >= seconds:
                return last
        raise RuntimeError("the explorer never came to rest")

    def freeze(self) -> None:
        """Stop the process (SIGSTOP)."""
        self._program.send_signal(signal.SIGSTOP)

    def unfreeze(self) -> None:
        """Continue the process (SIGCONT)."""
        self._program.send_signal(signal.SIGCONT)

    def _drain(self) -> None:
        received = b""
        while True:
            try:
                ready, _, _ = select.select([self._head], [], [], 0.5)
                data = os.read(self._head, 1 << 16) if ready else None
            except OSError:  # the program has ended
                return
            if data is None:
                if self._program.poll() is not None:
                    return
                continue
            self._pieces.append((time.perf_counter(), data))
            received = received[-len(SYNC_QUERY) :] + data
            if SYNC_QUERY in received:
                os.write(self._head, SYNC_ANSWER)
                received = b""


def explorer(folder: Path, *arguments: str, remote: bool = False) -> Terminal:
    """`bntui` with these arguments.

    Arguments:
        folder: where it remembers things, and where its working directory is taken to be.
        remote: as it would be under SSH.
    """
    source = str(Path(__file__).parents[2])
    environment = {
        "PYTHONPATH": os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH")))),
        "PYTHONDONTWRITEBYTECODE": None,  # as it is installed: compiled once
        "XDG_STATE_HOME": str(folder / "state"),
        "SSH_CONNECTION": "192.0.2.1 50000 192.0.2.2 22" if remote else None,
        "SSH_TTY": None,
        "NO_COLOR": None,
    }
    return Terminal([sys.executable, "-m", "bntui.main", *arguments], environment)


def shows_curves(text: bytes) -> bool:
    """Whether so much was sent that curves were among it."""
    return len(BRAILLE.findall(text)) >= CURVES


def bursts(pieces: list[tuple[float, bytes]], gap_s: float) -> list[int]:
    """Bytes of what was sent together: pieces less than `gap_s` apart."""
    sizes: list[int] = []
    last = float("-inf")
    for at, data in pieces:
        if at - last > gap_s:
            sizes.append(0)
        sizes[-1] += len(data)
        last = at
    return sizes


def processor_s(pid: int, *, all_threads: bool = False) -> float:
    """Seconds that the main thread of a process has computed, or all of its threads that live."""
    threads = Path(f"/proc/{pid}/task").iterdir() if all_threads else [Path(f"/proc/{pid}/task/{pid}")]
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident megabytes of a process: now, and at most so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = {line.partition(":")[0]: line.split()[1] for line in lines if line.startswith("Vm")}
    return int(found["VmRSS"]) * 1024 / 1e6, int(found["VmHWM"]) * 1024 / 1e6


def _while_patient() -> Iterator[None]:
    until = time.perf_counter() + PATIENCE_S
    while time.perf_counter() < until:
        yield
        time.sleep(POLL_S)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
