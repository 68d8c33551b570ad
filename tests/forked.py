"""Programs of this package, forked from a server that has imported torch already.

Once installed, `subprocess` starts ``python -m bntui.cli.main`` and its like in milliseconds instead of seconds,
for a test and for the programs that it starts: a supervisor forks its workers. Each is a process all the same,
with a pid, parent, session, streams, signals, command line and exit code of its own.

An interpreter is started after all where the start itself matters: for options before ``-m``, for other modules,
and for other values of what Python and its libraries read when they start.
"""

from __future__ import annotations

import atexit
import contextvars
import ctypes
import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import DupFd
from operator import methodcaller
from pathlib import Path
from typing import Any

import torch

PROGRAMS = ("bncore.launch.supervisor", "bncore.train.worker", "bntui.cli.main")
READ_AT_START = ("PYTHON", "LC_", "LANG", "MKL_", "TORCH_")
PR_SET_CHILD_SUBREAPER = 36

sys.path.append(str(Path(__file__).parents[1]))  # for `tests.preload`, from Python 3.14 on
server = multiprocessing.get_context("forkserver")
server.set_forkserver_preload(["tests.preload", "_" * 4096])  # no module: room for `_show_as`

_start_interpreter = subprocess._fork_exec  # type: ignore[attr-defined]
_started_with = dict(os.environ)
_adoption = threading.Lock()


@dataclass(frozen=True)
class Start:
    """A process that `subprocess` asks for."""

    command: list[str]
    cwd: str | None
    environment: dict[str, str]
    session: bool
    parent: int
    ignored: tuple[int, ...]
    """Signals that are ignored where it is started."""

    def can_be_forked(self) -> bool:
        """Whether nothing but time tells it from a process of a new interpreter."""
        names = {*self.environment, *_started_with} - {"PYTHONPATH"}
        return (
            self.command[:2] == [sys.executable, "-m"]
            and self.command[2] in PROGRAMS
            and all(
                self.environment.get(name) == _started_with.get(name)
                for name in names
                if name.startswith(READ_AT_START)
            )
            and {*filter(None, self.environment.get("PYTHONPATH", "").split(os.pathsep))} <= {*sys.path}
        )


def install() -> None:
    """Have `subprocess` fork what it can."""
    subprocess._fork_exec = _from_server  # type: ignore[attr-defined]


@contextmanager
def interpreters() -> Iterator[None]:
    """Have `subprocess` start interpreters after all: where killing them as they start is what is tested."""
    installed = subprocess._fork_exec  # type: ignore[attr-defined]
    subprocess._fork_exec = _start_interpreter  # type: ignore[attr-defined]
    try:
        yield
    finally:
        subprocess._fork_exec = installed  # type: ignore[attr-defined]


def _asked(arguments: tuple[Any, ...]) -> tuple[Start, list[int]]:
    """What the arguments of `subprocess._fork_exec` mean: the process, and its three streams, -1 for ours."""
    command, _, _, _, cwd, variables, stdin, _, _, stdout, _, stderr, _, _, _, session, *_ = arguments
    pairs = os.environb.items() if variables is None else (one.split(b"=", 1) for one in variables)
    start = Start(
        [os.fsdecode(word) for word in command],
        None if cwd is None else os.fsdecode(cwd),
        {os.fsdecode(name): os.fsdecode(value) for name, value in pairs},
        session,
        os.getpid(),
        tuple(n for n in signal.valid_signals() if signal.getsignal(n) == signal.SIG_IGN),
    )
    return start, [stdin, stdout, stderr]


def _from_server(*arguments: Any) -> int:
    """Fork a process from the server: as `subprocess` wants it, a child of this one."""
    start, streams = _asked(arguments)
    if not start.can_be_forked() or arguments[21] is not None:  # preexec_fn
        return int(_start_interpreter(*arguments))
    answer, tell = multiprocessing.Pipe(duplex=False)
    with answer, tell, _adopting_orphans():
        given = [Stream(number if one == -1 else one) for number, one in enumerate(streams)]
        between = server.Process(target=_fork_and_tell, args=(start, given, tell))
        between.start()
        pid: int = answer.recv()
        between.join()
        between.close()
        return pid


@contextmanager
def _adopting_orphans() -> Iterator[None]:
    """Be the parent of what the children of this process leave behind."""
    prctl = ctypes.CDLL(None).prctl
    with _adoption:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        try:
            yield
        finally:
            prctl(PR_SET_CHILD_SUBREAPER, 0)


@dataclass(frozen=True)
class Stream:
    """A descriptor on its way to another process, where it arrives as a number."""

    number: int

    def __reduce__(self) -> tuple[Any, ...]:
        return methodcaller("detach"), (DupFd(self.number),)


def _fork_and_tell(start: Start, streams: list[int], tell: Connection) -> None:
    tell.send(_fork(start, streams))


def _from_here(*arguments: Any) -> int:
    """Fork a process from this one, which was forked itself."""
    start, streams = _asked(arguments)
    return _fork(start, streams) if start.can_be_forked() else int(_start_interpreter(*arguments))


def _fork(start: Start, streams: list[int]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            _become(start, streams)
            code = contextvars.Context().run(_run, start.command[2])
        finally:
            os._exit(code)
    return pid


def _become(start: Start, streams: list[int]) -> None:
    """Make this process what an interpreter finds at its start."""
    while os.getppid() != start.parent:  # until the process between has ended
        time.sleep(0.001)
    if start.session:
        os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(number if stream == -1 else stream, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN if number in start.ignored else signal.SIG_DFL)
    if signal.SIGINT not in start.ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(start.cwd or ".")
    os.environ.clear()
    os.environ.update(start.environment)
    tempfile.tempdir = None
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    sys.argv = start.command[2:]
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, errors=errors, closefd=False)  # noqa: SIM115 - until the end
        for number, mode, errors in ((0, "r", None), (1, "w", None), (2, "w", "backslashreplace"))
    )
    _show_as(start.command)
    atexit._clear()
    subprocess._fork_exec = _from_here  # type: ignore[attr-defined]


def _show_as(command: list[str]) -> None:
    """Overwrite the command line that the system shows of this process."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end = int(fields[45]), int(fields[46])
    text = b"".join(os.fsencode(word) + b"\0" for word in command)[: end - begin]
    ctypes.memmove(begin, text.ljust(end - begin, b"\0"), end - begin)


def _run(module: str) -> int:
    """Run a program's `main` as an interpreter does, to its exit code."""
    failpoints = importlib.import_module("bncore.store.failpoints")
    importlib.reload(failpoints)  # it reads the environment; who imported its functions has the renewed ones
    code: Any = 1
    try:
        code = importlib.import_module(module).main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return int(code or 0) & 0xFF
