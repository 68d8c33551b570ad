"""`bntui` as a person has it: a process of its own in a real pseudo-terminal, which is looked at afterwards."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from cli.factories import clean_environment

PATIENCE_S = 60.0


REMOTE = ("SSH_CONNECTION", "SSH_TTY", "NO_COLOR", "XDG_STATE_HOME", "TEXTUAL_FPS")


def own_folders(folder: Path) -> dict[str, str]:
    """Where an explorer of a test remembers things and looks for preferences."""
    return {f"XDG_{kind}_HOME": str(folder / kind.lower()) for kind in ("STATE", "CONFIG")}


class TerminalProgram:
    """A program in a terminal of its own.

    Arguments:
        folder: where it is started.
        program: arguments of Python.
        environment: beside what the tests' programs have.
    """

    def __init__(
        self, folder: Path, *program: str, size: tuple[int, int] = (120, 36), **environment: str
    ) -> None:
        inherited = {k: v for k, v in clean_environment(folder).items() if k not in (*REMOTE, "COLUMNS")}
        self._head, self._tail = pty.openpty()
        self.resize(*size)
        self.before = termios.tcgetattr(self._tail)
        self.process = subprocess.Popen(
            [sys.executable, *program],
            stdin=self._tail, stdout=self._tail, stderr=self._tail,
            cwd=folder,
            env=inherited | {"TERM": "xterm-256color", **own_folders(folder)} | environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - one system call
        )  # fmt: skip
        self._sent = bytearray()
        self._ending = False
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    def __enter__(self) -> TerminalProgram:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.hang_up()

    @property
    def sent(self) -> str:
        """Everything it has sent so far."""
        return bytes(self._sent).decode(errors="replace")

    def type(self, keys: str | bytes) -> None:
        """Press keys."""
        os.write(self._head, keys.encode() if isinstance(keys, str) else keys)

    def resize(self, width: int, height: int) -> None:
        """Make the window another size."""
        fcntl.ioctl(self._tail, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def until(self, holds: Callable[[str], object], since: int = 0) -> None:
        """Wait until what was sent after a moment holds something."""
        end = time.monotonic() + PATIENCE_S
        while not holds(self.sent[since:]):
            if self.process.poll() is not None:
                self._settle()
                assert holds(self.sent[since:]), (
                    f"ended with {self.process.returncode}: {self.sent[-3000:]!r}"
                )
                return
            assert time.monotonic() < end, f"never came: {self.sent[-3000:]!r}"
            time.sleep(0.02)

    def shows(self, text: str, since: int = 0) -> None:
        """Wait until a text was sent."""
        self.until(lambda sent: text in sent, since)

    def end(self) -> int:
        """Wait until it has ended; the exit code, negative for a signal that ended it."""
        code = self.process.wait(PATIENCE_S)
        self._settle()
        return code

    def attributes(self) -> list[Any]:
        """The terminal's attributes now."""
        return termios.tcgetattr(self._tail)

    def hang_up(self) -> None:
        """Let the terminal go, as when a connection breaks."""
        if not self._ending:
            self._ending = True
            self._thread.join()
            os.close(self._tail)
            os.close(self._head)

    def _settle(self) -> None:
        """Wait until all that was sent has been read."""
        before = -1
        while before != len(self._sent):
            before = len(self._sent)
            time.sleep(0.1)

    def _drain(self) -> None:
        while not self._ending:
            ready, _, _ = select.select([self._head], [], [], 0.05)
            if ready:
                try:
                    self._sent += os.read(self._head, 1 << 16)
                except OSError:
                    return


def bntui(
    folder: Path, *arguments: str, size: tuple[int, int] = (120, 36), **environment: str
) -> TerminalProgram:
    """`bntui` with these arguments, in a terminal."""
    return TerminalProgram(folder, "-m", "bntui.main", *arguments, size=size, **environment)


MODES = {
    "alternate screen": "1049", "mouse buttons": "1000", "mouse moves": "1003", "mouse coordinates": "1006",
    "focus": "1004", "pasting": "2004",
}  # fmt: skip


def assert_restored(session: TerminalProgram, *, mouse: bool = True) -> None:
    """The terminal is as it was found."""
    sent = session.sent
    for name, mode in MODES.items():
        if "mouse" in name and not mouse:
            assert f"\x1b[?{mode}h" not in sent
            continue
        on, off = sent.rfind(f"\x1b[?{mode}h"), sent.rfind(f"\x1b[?{mode}l")
        assert on < off, f"{name} is left on"
    assert "\x1b[?1049h" in sent
    assert sent.rfind("\x1b[?25l") < sent.rfind("\x1b[?25h"), "the cursor is left hidden"
    assert sent.count("\x1b[>1u") <= sent.count("\x1b[<u"), "the keyboard is left in another mode"
    assert session.attributes() == session.before


def assert_off(sent: str) -> None:
    """After what was sent, every mode is off, whichever screen it was."""
    for name, mode in MODES.items():
        off = sent.rfind(f"\x1b[?{mode}l")
        if mode == "1049":
            off = max(off, sent.rfind("\x1b[?1047l"))
        assert off > sent.rfind(f"\x1b[?{mode}h"), f"{name} is left on"
    assert sent.rfind("\x1b[?25h") > sent.rfind("\x1b[?25l"), "the cursor is left hidden"
    assert "\x1b[<u" in sent


def alive(pid: int) -> bool:
    """Whether a process lives, and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def end(pid: int) -> None:
    """End a process, if it still lives."""
    if alive(pid):
        os.kill(pid, signal.SIGKILL)
