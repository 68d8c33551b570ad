"""What is forked is what would have been started, and starts at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import forked
from cli.factories import clean_environment
from resume.factories import DEEP_LINEAR, make_run, wait_until

WORKER = [sys.executable, "-m", "bncore.train.worker"]


def ready(module: str) -> None:
    sys.exit(0 if module in sys.modules else f"{module} is not there")


def test_the_server_has_imported_what_takes_long() -> None:
    process = forked.server.Process(target=ready, args=("torch._dynamo",))
    process.start()
    process.join()
    assert process.exitcode == 0


def test_a_program_is_a_child_with_a_command_line_streams_and_an_end_of_its_own(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR.model_copy(update={"steps": 10**9}))
    with subprocess.Popen(
        [*WORKER, str(run.path)],
        env=clean_environment(tmp_path),
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as worker:
        try:
            wait_until(run.journal_file.exists, "a run at work")
            place = Path("/proc", str(worker.pid))
            assert (place / "cmdline").read_bytes().rstrip(b"\0").split(b"\0") == [
                *map(os.fsencode, WORKER),
                bytes(run.path),
            ]
            parent, _, session = map(int, (place / "stat").read_text().rpartition(")")[2].split()[1:4])
            assert (parent, session) == (os.getpid(), worker.pid)
            assert (place / "cwd").resolve() == tmp_path
            worker.send_signal(signal.SIGTERM)
            _, told = worker.communicate(timeout=60)
        finally:
            worker.kill()
    assert worker.returncode == 128 + signal.SIGTERM
    assert f"process {worker.pid} on".encode() in told
