"""A day with the explorer in tmux: start, look, change, leave, lose the connection, come back, stop."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli.factories import clean_environment
from resume.factories import events

from bncore.store.owner import read_owner
from bncore.store.paths import OwnedDir, RunDir, SweepDir
from bncore.store.requests import waiting
from bncore.store.status import read_status
from explorer.terminal import alive, end, own_folders

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
PATIENCE_S = 90.0
BNRUN, BNTUI = (f"{shlex.quote(sys.executable)} -m bntui.{module}" for module in ("cli.main", "main"))
PRESET = (
    f"{BNRUN} preset dln_ics --detach --jobs 3 --steps 1000000"
    " --set data.samples=50 --set log_every=1 --set probes.ics.every=100 --set probes.landscape.every=0"
)


class Tmux:
    """A terminal in tmux, with a shell in it."""

    def __init__(self, folder: Path) -> None:
        self._name = ""
        self._environment = {
            name: value
            for name, value in clean_environment(folder, **own_folders(folder)).items()
            if name not in ("TMUX", "COLUMNS", "SSH_CONNECTION", "SSH_TTY", "NO_COLOR", "ENV")
        }
        self._folder = folder

    def open(self) -> None:
        """Start a server of its own with one window."""
        self._name = f"bntui-test-{uuid.uuid4().hex[:12]}"
        self._do("new-session", "-d", "-x", "160", "-y", "48", "-c", str(self._folder), "/bin/sh")
        self.command("PS1=ready'$ '")
        self.shows("ready$")

    def close(self) -> None:
        """End the server and what runs in its window, as when the machine in between goes."""
        self._do("kill-server", check=False)

    def type(self, *keys: str) -> None:
        """Press keys, by tmux's names."""
        for key in keys:
            self._do("send-keys", key)

    def command(self, line: str) -> None:
        """Type a command line."""
        self._do("send-keys", "-l", line)
        self._do("send-keys", "Enter")

    @property
    def text(self) -> str:
        """What a person sees."""
        return self._do("capture-pane", "-p")

    @property
    def in_program(self) -> bool:
        """Whether a program has the screen to itself."""
        return self._do("display-message", "-p", "#{alternate_on}").strip() == "1"

    def shows(self, *texts: str) -> None:
        """Wait until texts are seen."""
        self.until(lambda: all(text in self.text for text in texts), f"{texts}")

    def until(self, holds: Callable[[], object], what: str) -> None:
        """Wait until something holds."""
        limit = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < limit, f"never came: {what}; there is\n{self.text}"
            time.sleep(0.1)

    def _do(self, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(
            ["tmux", "-L", self._name, "-f", "/dev/null", *arguments],
            env=self._environment, capture_output=True, text=True, check=check, timeout=30,
        )  # fmt: skip
        return done.stdout


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    """tmux, and an end to everything that was started in it."""
    terminal = Tmux(tmp_path)
    terminal.open()
    yield terminal
    terminal.close()
    for sweep in (tmp_path / "runs").glob("*"):
        for held in (SweepDir(sweep), *SweepDir(sweep).runs()):
            holder = read_owner(held)
            if holder is not None:
                end(holder.pid)


def applied(run: RunDir) -> list[dict[str, object]]:
    """Changes that a run has made, in order."""
    return [
        e["new"] for e in events(run) if e["type"] == "request" and e["outcome"] == "applied" and e["new"]
    ]


def pid_of(held: OwnedDir) -> int:
    holder = read_owner(held)
    assert holder is not None
    return holder.pid


def test_a_sweep_is_started_changed_left_found_again_and_stopped(tmp_path: Path, tmux: Tmux) -> None:
    tmux.command(PRESET)
    tmux.shows("runs/dln_ics-001", "detached: process")
    sweep = SweepDir(tmp_path / "runs" / "dln_ics-001")
    run = sweep.runs()[2]

    tmux.command(f"{BNTUI} @last")
    tmux.shows("● live", "dln_ics-001", "none-lr1e-06", "Training loss", "ETA")
    tmux.until(run.journal_file.exists, "the run to be changed at work")
    supervisor, worker = pid_of(sweep), pid_of(run)

    tmux.type("Down", "Down", "n")
    tmux.shows("→ noise on  to run batch-lr1e-06  at the next step")
    assert not applied(run)
    tmux.type("Enter")
    tmux.shows("✓ noise on", "noise on @")
    tmux.type("p")
    tmux.shows("→ norm none  to run batch-lr1e-06")
    tmux.type("Down")
    tmux.shows("→ norm l1  to run batch-lr1e-06")
    tmux.type("Enter")
    tmux.shows("✓ norm l1", "norm l1 @", "norm l1  noise on")
    assert applied(run) == [{"noise.on": True}, {"norm.kind": "l1"}]

    tmux.type("q")
    tmux.shows("4 runs not finished", "detach: they continue")
    tmux.type("Enter")
    tmux.until(lambda: not tmux.in_program, "the shell's screen")
    tmux.command("stty -a")
    tmux.shows("ready$", " icanon ", " echo ")
    tmux.close()
    assert alive(worker)
    assert alive(supervisor)

    tmux.open()
    tmux.command(f"{BNTUI} dln --no-mouse --theme ansi")
    tmux.shows("● live", "✓ noise on", "✓ norm l1", "noise on @", "norm l1 @")
    tmux.type("6")
    tmux.shows("Events and requests", "✓ norm l1  by ")
    tmux.type("1", "w", "x")
    tmux.shows("→ stop  to all 4 runs")
    tmux.type("Enter")
    tmux.shows("■ stopped")
    tmux.until(lambda: not alive(worker) and not alive(supervisor), "the end of the processes")
    states = [status.state for run in sweep.runs() if (status := read_status(run)) is not None]
    assert states == ["stopped"] * 4
    assert all(not waiting(run) for run in sweep.runs()), (
        "nothing is left that would stop it when it is resumed"
    )
    tmux.until(lambda: "queued" not in tmux.text, "the last run as stopped")
    tmux.type("q")  # nothing continues: no question
    tmux.until(lambda: not tmux.in_program, "the shell's screen")
