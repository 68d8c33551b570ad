"""The explorer on a real terminal: its first picture, how it ends, and what it leaves behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli.factories import TINY, bnrun, clean_environment, tiny_experiment
from live.factories import events, made_run, write_sweep
from resume.factories import wait_until

from bncore.store.owner import read_owner
from bncore.store.paths import RunDir, SweepDir
from bncore.store.status import read_status
from explorer.factories import NASTY
from explorer.terminal import TerminalProgram, alive, assert_off, assert_restored, bntui, end

LONG = TINY.replace("steps = 12", "steps = 100000").replace("depth = 3", "depth = 6")


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A finished run under the root that the explorer is given."""
    sweep = SweepDir(tmp_path / "runs" / "made-001")
    run = made_run(sweep.path / "batch-s0", events())
    write_sweep(sweep.path, ["batch-s0"], name="made", title="Made")
    return run


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("q", 0),
        ("\x03", 0),
        ("\x11", 0),
        (signal.SIGTERM, 143),
        (signal.SIGHUP, 129),
        (signal.SIGQUIT, 131),
        (signal.SIGABRT, 134),
        (signal.SIGUSR1, 138),
    ],
    ids=["q", "ctrl+c", "ctrl+q", "TERM", "HUP", "QUIT", "ABRT", "USR1"],
)
def test_however_it_ends_the_terminal_is_as_before(
    tmp_path: Path, run: RunDir, ending: str | signal.Signals, code: int
) -> None:
    with bntui(tmp_path, str(run.path)) as session:
        session.shows("Training loss")
        assert session.attributes() != session.before
        if isinstance(ending, str):
            session.type(ending)
        else:
            session.process.send_signal(ending)
        assert session.end() == code
        assert_restored(session)
        assert "Traceback" not in session.sent


CRASHES = {
    "page": "from bntui.screens.sweep import SweepPage as C; C.show_page = raises",
    "chart": "from bntui.chart.widget import Chart as C; C.paint = raises",
    "line": "from bntui.widgets.line import Line as C; C.render_line = raises",
    "mount": "from bntui.app import Explorer as C; C.on_mount = raises",
    "key": "from bntui.app import Explorer as C; C.action_help = raises",
}


@pytest.mark.parametrize("where", CRASHES)
def test_a_crash_gives_the_terminal_back_and_says_why(tmp_path: Path, run: RunDir, where: str) -> None:
    driver = tmp_path / "driver.py"
    driver.write_text(
        "import sys\n"
        "def raises(*_, **__):\n"
        "    raise RuntimeError('a planted mistake')\n"
        f"{CRASHES[where]}\n"
        "from bntui.main import main\n"
        f"sys.exit(main([{str(run.path)!r}]))\n"
    )
    with TerminalProgram(tmp_path, str(driver)) as session:
        if where == "key":
            session.shows("Training loss")
            session.type("?")
        assert session.end() == 1
        assert_restored(session)
        last = session.sent.rpartition("\x1b[?1049l")[2]
        assert "a planted mistake" in last, "reported where it can be read"


def test_a_reader_that_fails_is_told_on_the_screen(tmp_path: Path, run: RunDir) -> None:
    driver = tmp_path / "driver.py"
    driver.write_text(
        "import sys\n"
        "from bntui.live.watch import Disk\n"
        "def raises(*_):\n"
        f"    raise RuntimeError({'a planted ' + NASTY!r})\n"
        "Disk.open = raises\n"
        "from bntui.main import main\n"
        f"sys.exit(main([{str(run.path)!r}]))\n"
    )
    with TerminalProgram(tmp_path, str(driver)) as session:
        session.shows("a planted")
        session.type("q")
        assert session.end() == 0
        assert "\x1b]0;title" not in session.sent
        assert_restored(session)


def test_it_ends_when_its_terminal_goes(tmp_path: Path, run: RunDir) -> None:
    with bntui(tmp_path, str(run.path)) as session:
        session.shows("Training loss")
        session.hang_up()
        assert session.process.wait(20) in (129, 1, -signal.SIGHUP)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=["TERM", "HUP"]
)
def test_a_signal_ends_it_even_where_leaving_hangs(
    tmp_path: Path, run: RunDir, number: signal.Signals, code: int
) -> None:
    """As it does where the terminal is gone and Textual waits for the thread that wrote to it."""
    driver = tmp_path / "driver.py"
    driver.write_text(
        "import sys, threading\n"
        "import bntui.app, bntui.signals\n"
        "bntui.signals.GRACE_S = 0.5\n"
        "bntui.app.Explorer.on_unmount = lambda self: threading.Event().wait()\n"
        "from bntui.main import main\n"
        f"sys.exit(main([{str(run.path)!r}]))\n"
    )
    with TerminalProgram(tmp_path, str(driver)) as session:
        session.shows("Training loss")
        session.process.send_signal(number)
        assert session.end() == code
        assert_off(session.sent)
        assert session.attributes() == session.before


def test_what_a_killed_one_left_is_reset_at_the_next_start(tmp_path: Path, run: RunDir) -> None:
    driver = tmp_path / "driver.py"
    driver.write_text(
        "import subprocess, sys\n"
        f"command = [sys.executable, '-m', 'bntui.main', {str(run.path)!r}]\n"
        "first = subprocess.Popen(command)\n"
        "print(f'first={first.pid}.', file=open('pid', 'w'), flush=True)\n"
        "first.wait()\n"
        "sys.stderr.write('between'); sys.stderr.flush()\n"
        "sys.exit(subprocess.run(command).returncode)\n"
    )
    with TerminalProgram(tmp_path, str(driver)) as session:
        session.shows("Training loss")
        os.kill(int((tmp_path / "pid").read_text().split("=")[1].rstrip(".\n")), signal.SIGKILL)
        session.shows("between")
        killed = session.sent.index("between")
        session.shows("\x1b[?1049h", killed)
        reset = session.sent[killed : session.sent.index("\x1b[?1049h", killed)]
        assert_off(reset)
        session.shows("Training loss", killed)
        session.type("q")
        assert session.end() == 0
        assert session.attributes() == session.before


def test_without_a_mouse_the_mouse_is_the_terminals(tmp_path: Path, run: RunDir) -> None:
    with bntui(tmp_path, str(run.path), "--no-mouse") as session:
        session.shows("Training loss")
        session.type("q")
        assert session.end() == 0
        assert_restored(session, mouse=False)


@pytest.mark.parametrize(
    "environment",
    [{"NO_COLOR": "1"}, {"TERM": "xterm"}, {"TERM": "vt100"}, {"SSH_CONNECTION": "192.0.2.1 5 192.0.2.2 22"}],
    ids=lambda environment: "+".join(environment.values())[:9],
)
def test_it_draws_on_lesser_terminals(tmp_path: Path, run: RunDir, environment: dict[str, str]) -> None:
    with bntui(tmp_path, str(run.path), **environment) as session:
        session.shows("Training loss")
        session.type("q")
        assert session.end() == 0
        if "NO_COLOR" in environment:
            assert set(re.findall(r"[34]8;5;(\d+)", session.sent)) <= {"16", *map(str, range(231, 256))}, (
                "greys"
            )
            assert not re.search(r"\x1b\[(\d+;)*[349][1-7]m", session.sent)
        assert_restored(session)


def test_any_window_and_any_input_are_borne(tmp_path: Path, run: RunDir) -> None:
    with bntui(tmp_path, str(run.path)) as session:
        session.shows("Training loss")
        for size in ((30, 8), (1, 1), (300, 100), (60, 18), (2, 50), (200, 2), (120, 36)):
            session.resize(*size)
            time.sleep(0.15)
        session.type("\x1b[200~q\nx y\x1b[31m\x1b[201~")  # pasted: no key
        session.type(
            b"\xff\xfe\x00\x1b[<0;999;999M\x1b[<64;5;5M\x1b[M!!!\x1b]11;rgb:0/0/0\x07\x1bP0\x1b\\\x1b[999~\x1b[?"
        )
        session.type("\x1b" * 5)
        time.sleep(0.5)
        assert session.process.poll() is None
        seen = len(session.sent)
        session.type("?")
        session.shows("Keys", seen)
        session.type("\x1b")
        time.sleep(0.3)
        session.type("q")
        assert session.end() == 0
        assert_restored(session)


def test_home_can_be_left_before_it_has_read_anything(tmp_path: Path, run: RunDir) -> None:
    with bntui(tmp_path) as session:
        session.shows("\x1b[?1049h")
        session.type("q")
        assert session.end() == 0
        assert "Traceback" not in session.sent
        assert "Error" not in session.sent
        assert_restored(session)


def test_the_recording_is_labelled_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    with bntui(tmp_path, "--demo", TMPDIR=str(tmp_path / "temporary")) as session:
        session.shows("PLAYBACK, not live")
        session.shows("Training loss")
        session.process.send_signal(signal.SIGTERM)
        assert session.end() == 143
        assert_restored(session)
    assert not list((tmp_path / "temporary").iterdir())


def test_without_a_terminal_it_refuses_and_names_the_other_way(tmp_path: Path, run: RunDir) -> None:
    program = [sys.executable, "-m", "bntui.main", str(run.path)]
    done = subprocess.run(
        program, cwd=tmp_path, env=clean_environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "bnrun watch --plain" in done.stderr
    assert not done.stdout
    for name in ("dumb", "unknown", ""):
        with bntui(tmp_path, str(run.path), TERM=name) as session:
            assert session.end() == 2
            assert "bnrun watch --plain" in session.sent
            assert "\x1b" not in session.sent
            assert session.attributes() == session.before


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "ascii:replace", "cp1252"])
def test_where_its_signs_cannot_be_written_it_refuses_and_names_the_other_way(
    tmp_path: Path, run: RunDir, encoding: str
) -> None:
    with bntui(tmp_path, str(run.path), PYTHONIOENCODING=encoding, PYTHONUTF8="0") as session:
        assert session.end() == 2
        assert "needs a UTF-8 terminal" in session.sent
        assert "PYTHONIOENCODING" in session.sent
        assert "bnrun watch --plain" in session.sent
        assert "\x1b" not in session.sent
        assert session.attributes() == session.before


def test_utf_8_by_any_name_will_do(tmp_path: Path, run: RunDir) -> None:
    with bntui(
        tmp_path, str(run.path), PYTHONIOENCODING="UTF8:strict", LC_ALL="C", PYTHONUTF8="0"
    ) as session:
        session.shows("Training loss")
        session.shows("│")
        session.type("q")
        assert session.end() == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nowhere\x1b[2J",), 3, "nowhere"),
        (("--speed", "-1"), 2, "--speed: -1: expected a positive number"),
        (("--speed", "nan"), 2, "--speed: nan: expected a positive number"),
        (("--speed", "abc"), 2, "--speed: abc: expected a positive number"),
        (("--speed", "\x1b[2J"), 2, "\\x1b[2J: expected a positive number"),
        (("--speed", "20"), 2, "--speed: expected together with a run or a sweep"),
        (("runs", "--speed", "20"), 2, "--speed: expected together with a run or a sweep"),
        (("--demo", "made-001"), 2, "made-001 cannot be shown with it"),
        (("--pink\x1b[2J",), 2, "--pink\\x1b[2J"),
        (("--root", "runs/made-001/sweep.toml"), 2, "runs/made-001/sweep.toml: not a directory"),
        (("made-001", "--root", "runs/made-001/sweep.toml"), 2, "sweep.toml: not a directory"),
        (("--theme", "pink"), 2, "--theme"),
    ],
)
def test_what_cannot_be_opened_is_said_without_a_picture(
    tmp_path: Path, run: RunDir, arguments: tuple[str, ...], code: int, said: str
) -> None:
    with bntui(tmp_path, *arguments, NO_COLOR="1") as session:  # argparse has colors from Python 3.14 on
        assert session.end() == code
        assert said in session.sent
        assert "\x1b" not in session.sent


def test_a_run_at_work_does_not_notice_how_the_explorer_ends(tmp_path: Path) -> None:
    done = bnrun("run", tiny_experiment(tmp_path, LONG), "--detach", "--jobs", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    sweep = SweepDir(tmp_path / done.stdout.strip())
    first = sweep.runs()[0]
    wait_until(lambda: read_owner(first) is not None, "a worker")
    worker, supervisor = read_owner(first), read_owner(sweep)
    assert worker is not None
    assert supervisor is not None

    def step() -> int:
        status = read_status(first)
        return status.step if status is not None and status.state == "running" else -1

    try:
        for ending in (signal.SIGTERM, signal.SIGHUP, signal.SIGKILL, None):
            with bntui(tmp_path, str(sweep.path)) as session:
                session.shows("● live")
                if ending is not None:
                    session.process.send_signal(ending)
                    session.end()
                else:
                    session.hang_up()
                    session.process.wait(20)
            before = step()
            wait_until(lambda before=before: step() > before + 5, "more steps")
            assert alive(worker.pid)
            assert alive(supervisor.pid)
    finally:
        end(supervisor.pid)
        end(worker.pid)
