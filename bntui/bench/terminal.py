"""The explorer in a real pseudo-terminal, with everything it sends recorded over time."""

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
"""Timeout in seconds, after which something is considered broken."""
POLL_S = 0.002
ENDING_S = 10.0
IDLE = 0.1
"""Fraction of a processor that an idle program may use."""
SYNC_QUERY, SYNC_ANSWER = b"\x1b[?2026$p", b"\x1b[?2026;2$y"
"""The query for synchronized output, and the answer that it is supported, as in most terminals."""
BRAILLE = re.compile(rb"\xe2[\xa0-\xa3][\x80-\xbf]")
CURVES = 100
"""Minimum number of braille characters that indicates curves rather than mere line samples."""


class Terminal:
    """A program started in a pseudo-terminal; everything it sends is read immediately and stored with its time.

    Arguments:
        command: program and arguments.
        environment: variables added to the inherited environment; None removes a variable.
    """

    def __init__(self, command: list[str], environment: Mapping[str, str | None]) -> None:
        self._pieces: list[tuple[float, bytes]] = []
        self._head, tail = pty.openpty()
        fcntl.ioctl(tail, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
        changed = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **environment}
        self.started = time.perf_counter()
        self._program = subprocess.Popen(
            command,
            stdin=tail,
            stdout=tail,
            stderr=tail,
            env={name: value for name, value in changed.items() if value is not None},
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509 - only one system call
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
        """Press keys and return the time."""
        at = time.perf_counter()
        os.write(self._head, keys.encode())
        return at

    def pieces(self, since: float = 0.0) -> list[tuple[float, bytes]]:
        """Output sent after a point in time, as (time, bytes) for each piece read."""
        return [piece for piece in self._pieces.copy() if piece[0] > since]

    def first(self, holds: Callable[[bytes], bool], since: float = 0.0) -> float:
        """Wait until `holds` is true for the output sent after a point in time; return when it became true.

        Raises:
            RuntimeError: the program ended or the timeout passed; the message contains the output.
        """
        for _ in _while_patient():
            ended = self._program.poll() is not None
            if ended:
                self._thread.join(ENDING_S)  # its last output may not have been read yet
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
        """Wait until there has been no output for so long; return the time of the last output after `since`, else
        `since`."""
        for _ in _while_patient():
            last = max(self._pieces[-1][0] if self._pieces else 0.0, since)
            if time.perf_counter() - last >= seconds:
                return last
        raise RuntimeError(f"the explorer never was quiet for {seconds:g} s")

    def idle(self, seconds: float = 1.0) -> float:
        """Wait until there has been no output and almost no computation for so long; return the time of the last
        output."""
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
    """Start `bntui` with these arguments.

    Arguments:
        folder: parent of its state directory.
        remote: simulate a session over SSH.
    """
    environment = {
        "PYTHONDONTWRITEBYTECODE": None,  # as when installed: compiled once
        "XDG_STATE_HOME": str(folder / "state"),
        "SSH_CONNECTION": "192.0.2.1 50000 192.0.2.2 22" if remote else None,
        "SSH_TTY": None,
        "NO_COLOR": None,
    }
    return Terminal([sys.executable, "-m", "bntui.main", *arguments], environment)


def shows_curves(text: bytes) -> bool:
    """Whether the output is large enough to include curves."""
    return len(BRAILLE.findall(text)) >= CURVES


def bursts(pieces: list[tuple[float, bytes]], gap_s: float) -> list[int]:
    """Size in bytes of each burst of output: pieces at most `gap_s` apart."""
    sizes: list[int] = []
    last = float("-inf")
    for at, data in pieces:
        if at - last > gap_s:
            sizes.append(0)
        sizes[-1] += len(data)
        last = at
    return sizes


def processor_s(pid: int, *, all_threads: bool = False) -> float:
    """Processor seconds used by the main thread of a process, or by all of its living threads."""
    threads = Path(f"/proc/{pid}/task").iterdir() if all_threads else [Path(f"/proc/{pid}/task/{pid}")]
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident memory of a process in megabytes: current and peak."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = {line.partition(":")[0]: line.split()[1] for line in lines if line.startswith("Vm")}
    return int(fields["VmRSS"]) * 1024 / 1e6, int(fields["VmHWM"]) * 1024 / 1e6


def _while_patient() -> Iterator[None]:
    until = time.perf_counter() + PATIENCE_S
    while time.perf_counter() < until:
        yield
        time.sleep(POLL_S)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
